package services

import (
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that is wrapped here
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// undecodable marks a message whose bytes could not be read: an unknown field
// of the highest number, which no message of ours has.
var undecodable = protowire.AppendVarint(protowire.AppendTag(nil, protowire.MaxValidNumber, protowire.VarintType), 1)

// codec is the protobuf codec, except that a request which cannot be decoded
// reaches the interceptors, marked. grpc would call it an internal error, and
// say so before anybody asked who is calling.
type codec struct{ encoding.CodecV2 }

// Codec is for the native gRPC server.
func Codec() encoding.CodecV2 { return codec{encoding.GetCodecV2("proto")} }

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	err := c.CodecV2.Unmarshal(data, v)
	m, ok := v.(proto.Message)
	if err == nil || !ok {
		return err
	}
	proto.Reset(m)
	m.ProtoReflect().SetUnknown(undecodable)
	return nil
}
