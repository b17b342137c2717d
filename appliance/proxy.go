package appliance

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"

	"schoolgate/blockpage"
	"schoolgate/configs"
	"schoolgate/policy"
	"schoolgate/proxy"
)

func (a *Appliance) openProxy(context.Context) (err error) {
	c := a.box().Proxy
	cfg := proxy.Config{
		Listen: texts(c.Listen), PageListen: texts(c.PageListen),
		Transparent: proxy.Transparent{HTTP: texts(c.Transparent.HTTP), TLS: texts(c.Transparent.TLS)},
		Decider:     &a.engine, Sink: a.journal, Resolver: a.dns, Pages: pages{&a.config},
		ConnectPorts: c.ConnectPorts, HTTPPorts: c.HTTPPorts, AllowDestinations: c.AllowDestinations,
		Limits: proxy.Limits{Conns: c.MaxConnections, ConnsPerClient: c.MaxPerClient},
		Log:    a.log, Metrics: a.registry,
	}
	// The DNS door remembers what it answered, where it was built to.
	cfg.Names, _ = any(a.dns).(proxy.Names)
	a.proxy, err = proxy.New(cfg)
	if err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	a.onClose(closeOnce(a.proxy))
	return nil
}

// pages are the block pages, in the words of the configuration in force.
type pages struct {
	config *atomic.Pointer[configs.Config]
}

// Page writes the page for a recorded event.
func (p pages) Page(h http.Header, r policy.Ruling, e *policy.Event) ([]byte, error) {
	school := p.config.Load().School
	return blockpage.Pages{School: school.Name, Ask: school.Ask}.Page(h, r, e)
}
