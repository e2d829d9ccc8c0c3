package models

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// inert are modules whose classes and functions stand beside weights in
// checkpoints: configurations, arguments, numbers, paths, optimizers. A name of
// one, or of a module within it, is a value that says nothing; nothing of them
// is imported, built or called.
var inert = []string{
	"argparse", "pathlib", "numpy", "omegaconf", "collections", "datetime", "decimal", "fractions", "enum", "typing", "uuid", "dataclasses",
	"array", "copyreg", "copy_reg", "_codecs", "__main__", "types.SimpleNamespace", "functools.partial",
	"easydict", "addict", "yacs", "ml_collections", "hydra", "fvcore", "mmengine", "mmcv", "fairseq", "timm", "accelerate",
	"pytorch_lightning", "lightning", "lightning_fabric", "lightning_utilities", "transformers",
	"torch.optim", "torch.distributed", "torch.torch_version", "torch.amp", "torch.cuda.amp",
}

// inertBuiltins are the types of Python itself, and no functions.
var inertBuiltins = []string{
	"object", "list", "dict", "tuple", "set", "frozenset", "int", "float", "complex", "bool", "str", "bytes", "bytearray", "slice", "range", "long", "unicode",
}

// inertTorch are names of module torch: types of elements, devices, shapes.
var inertTorch = []string{
	"float32", "float", "float64", "double", "float16", "half", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz",
	"complex32", "complex64", "complex128", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "short", "int32", "int", "int64", "long", "bool",
	"quint8", "qint8", "qint32", "Size", "device", "dtype", "layout", "strided", "sparse_coo", "memory_format", "contiguous_format", "channels_last",
	"preserve_format", "Generator",
}

// findClass gives names a meaning.
func findClass(module, name string) (any, error) {
	// A name may be as long as the file, and used again and again.
	const longest = 200
	if len(module) > longest || len(name) > longest {
		return nil, fmt.Errorf("it names %.80s.%.80s, which no state dict needs; it was not run", module, name)
	}
	switch module + "." + name {
	case "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor":
		return callee(rebuildTensor), nil
	case "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state":
		return callee(func(_ *unpickler, args tuple) (any, error) {
			if len(args) == 0 {
				return nil, errors.New("a parameter without its tensor")
			}
			return args[0], nil
		}), nil
	case "collections.OrderedDict":
		return callee(orderedDict), nil
	case "collections.defaultdict":
		return callee(func(*unpickler, tuple) (any, error) { return &dict{}, nil }), nil
	}
	if dtype := storageDtypes[name]; dtype != "" && module == "torch" {
		return dtype, nil
	}
	full := module + "." + name
	known := slices.ContainsFunc(inert, func(m string) bool { return full == m || strings.HasPrefix(full, m+".") })
	switch module {
	case "builtins", "__builtin__":
		known = slices.Contains(inertBuiltins, name)
	case "torch":
		known = slices.Contains(inertTorch, name)
	case "torch.serialization":
		known = name == "_get_layout"
	}
	if known {
		return bystander{}, nil
	}
	return nil, fmt.Errorf("it names %.80s.%.80s, which no state dict needs; it was not run", module, name)
}
