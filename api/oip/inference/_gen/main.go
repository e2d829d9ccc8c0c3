// Gen makes the Go code of inference.proto in a folder, ".." as go generate
// calls it. It is a module of its own: the compiler and both plugins are pinned
// here and are no part of what is built.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

const file = "inference.proto"

// plugins are tools of go.mod, with their options.
var plugins = []struct{ tool, parameter string }{
	{"protoc-gen-go", "paths=source_relative"},
	{"protoc-gen-go-grpc", "paths=source_relative"},
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "gen: want a folder")
		os.Exit(2)
	}
	if err := generate(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func generate(dir string) error {
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{dir}}),
		SourceInfoMode: protocompile.SourceInfoStandard, // comments
	}
	files, err := compiler.Compile(context.Background(), file)
	if err != nil {
		return err
	}
	for _, p := range plugins {
		in, err := proto.Marshal(&pluginpb.CodeGeneratorRequest{
			FileToGenerate: []string{file}, Parameter: proto.String(p.parameter),
			ProtoFile: []*descriptorpb.FileDescriptorProto{protoutil.ProtoFromFileDescriptor(files[0])},
		})
		if err != nil {
			return err
		}
		cmd := exec.Command("go", "tool", p.tool)
		cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("%s: %w", p.tool, err)
		}
		var made pluginpb.CodeGeneratorResponse
		if err := proto.Unmarshal(out, &made); err != nil {
			return fmt.Errorf("%s: %w", p.tool, err)
		}
		if made.Error != nil {
			return fmt.Errorf("%s: %s", p.tool, *made.Error)
		}
		for _, f := range made.File {
			if err := os.WriteFile(filepath.Join(dir, f.GetName()), []byte(f.GetContent()), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}
