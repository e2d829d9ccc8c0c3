module github.com/vitserve/vitserve/patch/_asm

go 1.26.0
