package appliance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"schoolgate/policy"
)

// runWatchdog tells systemd that the doors are open and then, four times in each
// WatchdogSec of the unit, that they still answer (sd_notify(3)). A box that hangs
// is told of nothing, and systemd starts it anew. Without systemd it does nothing.
func (a *Appliance) runWatchdog(ctx context.Context) error {
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return fmt.Errorf("WATCHDOG_USEC of systemd: %w", err)
	}
	if err := notify(daemon.SdNotifyReady); err != nil {
		return err
	}
	defer func() {
		if err := notify(daemon.SdNotifyStopping); err != nil {
			a.log.Warn("systemd not told that the box stops", "err", err)
		}
	}()
	if limit == 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(limit / 4)
	defer tick.Stop()
	for {
		err := a.beat(ctx, limit/4)
		switch {
		case err == nil, ctx.Err() != nil:
		case errors.Is(err, context.DeadlineExceeded): // nothing but silence is hanging
			a.log.Error("a part of the box hangs; unless it comes back, systemd starts the box anew", "within", limit, "err", err)
		default: // it answers, if only that it cannot: no descriptors, say. Starting anew would end what still goes on.
			a.log.Warn("a part of the box is not well", "err", err)
			err = nil
		}
		if err == nil {
			if err := notify(daemon.SdNotifyWatchdog); err != nil {
				a.log.Warn("systemd not told that the box is well", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func notify(state string) error {
	if _, err := daemon.SdNotify(false, state); err != nil {
		return fmt.Errorf("NOTIFY_SOCKET of systemd: %w", err)
	}
	return nil
}

// beat sees within a time that the policy decides, the DNS door takes packets and
// the web door answers. None of it is a request of anybody's, and none is recorded.
func (a *Appliance) beat(ctx context.Context, within time.Duration) error {
	ctx, stop := context.WithTimeout(ctx, within)
	defer stop()
	decided := make(chan struct{})
	go func() {
		a.engine.Decide(policy.Request{Time: time.Now()})
		close(decided)
	}()
	select {
	case <-decided:
	case <-ctx.Done():
		return fmt.Errorf("the policy decides nothing: %w", ctx.Err())
	}
	if err := a.dns.Beat(ctx); err != nil {
		return err
	}
	if len(a.box().Proxy.Listen) == 0 {
		return nil
	}
	if addr := a.proxy.Addrs()[0].String(); askSelf(ctx, addr) != nil && ctx.Err() != nil {
		return fmt.Errorf("the web door at %s does not answer: %w", addr, ctx.Err())
	}
	return nil
}

// askSelf asks the web door for its own proxy.pac. Whatever it answers shows that
// it does.
func askSelf(ctx context.Context, addr string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	c := http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/proxy.pac", http.NoBody)
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
