package testkit

import (
	"crypto/tls"
	"errors"
	"net"
)

// ClientHello is the first flight of a real TLS client that asks for a host.
func ClientHello(host string) ([]byte, error) {
	client, server := net.Pipe()
	done := make(chan error, 1)
	go func() { done <- tls.Client(client, &tls.Config{ServerName: host}).Handshake() }()
	flight := make([]byte, 1<<14)
	n, err := server.Read(flight) // written in one piece
	if err != nil {
		return nil, errors.Join(err, server.Close(), client.Close())
	}
	if err := server.Close(); err != nil {
		return nil, err
	}
	<-done // it has failed, as nobody answered
	return flight[:n], client.Close()
}
