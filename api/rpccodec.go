package api

import (
	"errors"
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	pb "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// mostFields is how many fields a message may have that take more memory than
// they do on the way: messages, texts and numbers by themselves, wherever they
// are. Values of a tensor are none of them.
const mostFields = 4 << 10

// codec is that of the library, but for messages that would take many times
// their bytes: an empty message within one takes two bytes and becomes a
// hundred.
type codec struct{}

func (codec) Name() string { return proto.Name }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	return encoding.GetCodecV2(proto.Name).Marshal(v)
}

func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(pb.Message)
	if !ok {
		return fmt.Errorf("api: %T is no message", v)
	}
	buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buf.Free()
	left := mostFields
	if err := countFields(m.ProtoReflect().Descriptor(), buf.ReadOnlyData(), &left, 0); err != nil {
		return err
	}
	return pb.Unmarshal(buf.ReadOnlyData(), m)
}

var errFields = fmt.Errorf("more than %d fields", mostFields)

// countFields takes the fields of a message from left.
func countFields(of protoreflect.MessageDescriptor, b []byte, left *int, depth int) error {
	const deepest = 32
	if depth > deepest {
		return errors.New("messages within messages")
	}
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		field := of.Fields().ByNumber(number)
		if kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, kind, b); n < 0 {
				return protowire.ParseError(n)
			}
			b = b[n:]
			if *left--; *left < 0 {
				return errFields
			}
			continue
		}
		value, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if *left--; *left < 0 {
			return errFields
		}
		if field == nil {
			continue // kept as it is
		}
		switch field.Kind() {
		case protoreflect.MessageKind:
			if err := countFields(field.Message(), value, left, depth+1); err != nil {
				return err
			}
		case protoreflect.Int64Kind, protoreflect.Uint64Kind, protoreflect.BoolKind, protoreflect.EnumKind:
			// Packed: a byte may be a number of eight.
			if *left -= len(value); *left < 0 {
				return errFields
			}
		}
	}
	return nil
}
