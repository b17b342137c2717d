package pipe

import (
	"errors"
	"net"
	"sync"

	"schoolgate/proxy/socket"
)

// Pipe moves what is there from one connection to another.
type Pipe struct {
	dst, src net.Conn
	fast     *Fast // nil where the connections are not plain TCP
}

// New is a pipe from src to dst, which stay the caller's.
func New(dst, src net.Conn) *Pipe {
	return &Pipe{dst, src, NewFast(socket.TCP(dst), socket.TCP(src))}
}

// Buffers are what bytes pass through, held from a read to its write and no longer.
var Buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// Some moves at least a byte, or says why not.
func (p *Pipe) Some() (int64, error) {
	if p.fast != nil {
		return p.fast.Some()
	}
	buf := Buffers.Get().(*[32 << 10]byte)
	defer Buffers.Put(buf)
	n, err := p.src.Read(buf[:])
	if n > 0 {
		if _, werr := p.dst.Write(buf[:n]); werr != nil {
			return 0, brokenWrite(werr)
		}
	}
	return int64(n), err
}

// brokenWrite keeps a write that timed out from passing for a quiet reader.
func brokenWrite(err error) error { return errors.New("write: " + err.Error()) }
