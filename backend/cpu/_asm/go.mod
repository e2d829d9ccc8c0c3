module github.com/vitserve/vitserve/backend/cpu/_asm

go 1.26.0
