package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"schoolgate/appliance"
	"schoolgate/configs"
	"schoolgate/firewall"
)

type firewallCmd struct {
	Show  firewallShowCmd  `cmd:"" help:"Print the rules of the gateway, as a file for nft(8), with comments."`
	Apply firewallApplyCmd `cmd:"" help:"Make the kernel's rules what they should be, in one step, and say what was different."`
	Check firewallCheckCmd `cmd:"" help:"Compare the kernel's rules with what they should be; exit 1 with the difference."`
	Count firewallCountCmd `cmd:"" help:"Say how often each rule met something since the rules were loaded."`
	Guard firewallGuardCmd `cmd:"" help:"Apply the rules, then see every few seconds that they are still there."`
}

type firewallShowCmd struct {
	configFlag
}

// Run prints the rules.
func (c *firewallShowCmd) Run(s *session) error {
	rules, err := loadRules(s, &c.configFlag)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(s.stdout, rules)
	return err
}

type firewallApplyCmd struct {
	configFlag
}

// Run loads the rules. Whoever asks twice is told that there was nothing to do.
func (c *firewallApplyCmd) Run(s *session) error {
	rules, err := loadRules(s, &c.configFlag)
	if err != nil {
		return err
	}
	found, err := rules.Apply(s.ctx)
	if err != nil {
		return fmt.Errorf("rules not applied: %w", err)
	}
	if found.None() {
		_, err = fmt.Fprintln(s.stdout, "the rules are in force, nothing was different")
		return err
	}
	_, err = fmt.Fprintf(s.stdout, "%sthe rules are in force now\n", found)
	return err
}

type firewallCheckCmd struct {
	configFlag
}

// Run compares.
func (c *firewallCheckCmd) Run(s *session) error {
	rules, err := loadRules(s, &c.configFlag)
	if err != nil {
		return err
	}
	found, err := rules.Check(s.ctx)
	if err != nil {
		return err
	}
	if found.None() {
		_, err = fmt.Fprintln(s.stdout, "the rules are in force")
		return err
	}
	fmt.Fprint(s.stdout, found)
	return fmt.Errorf("%w: the kernel's rules are not what they should be (restore them: schoolgate firewall apply)", errProblem)
}

type firewallCountCmd struct {
	configFlag
}

// Run prints packets and rule, a line each.
func (c *firewallCountCmd) Run(s *session) error {
	rules, err := loadRules(s, &c.configFlag)
	if err != nil {
		return err
	}
	counts, err := rules.Counts(s.ctx)
	if err != nil {
		return err
	}
	for _, n := range counts {
		if _, err := fmt.Fprintf(s.stdout, "%10d  %s\n", n.Packets, n.What); err != nil {
			return err
		}
	}
	return nil
}

type firewallGuardCmd struct {
	configFlag
	Every time.Duration `help:"How often to look (default ${default})." default:"5s"`
}

// Run restores what is changed until it is told to stop. What cannot be compared
// or loaded is told and tried again: the rules that are there stay meanwhile.
func (c *firewallGuardCmd) Run(s *session) error {
	if c.Every < 100*time.Millisecond {
		return fmt.Errorf("--every %s: want 100ms at least", c.Every)
	}
	rules, err := loadRules(s, &c.configFlag)
	if err != nil {
		return err
	}
	log := newLogger(s, configs.Log{Format: "text"})
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	told := tellTries{data: cfg.Box.Data, last: map[firewall.Try]time.Time{}}
	cut := cutting{data: cfg.Box.Data}
	tick := time.NewTicker(c.Every)
	defer tick.Stop()
	for {
		guard(s.ctx, rules, log)
		cut.keep(s.ctx, rules, log)
		c.tell(s.ctx, rules, &told, log)
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return nil
		}
	}
}

// tellTries is what the doors were told of devices that try to get round them.
type tellTries struct {
	data string
	last map[firewall.Try]time.Time
}

// againAfter is how long one device may try one way before it is told again: a
// program that tries without end is one try in that time.
const againAfter = 10 * time.Minute

// tell has the running daemon record what the firewall dropped (S2). Without a
// daemon nothing passes, and what was tried meanwhile is told when it is back.
func (c *firewallGuardCmd) tell(ctx context.Context, rules *firewall.Rules, told *tellTries, log *slog.Logger) {
	tries, err := rules.Tries(ctx)
	if err != nil {
		if ctx.Err() == nil {
			log.Error("tries to get round the filter not read", "err", err)
		}
		return
	}
	now := time.Now()
	maps.DeleteFunc(told.last, func(_ firewall.Try, at time.Time) bool { return now.Sub(at) >= againAfter })
	var list []appliance.Dropped
	for _, t := range tries {
		if _, known := told.last[t]; !known {
			list = append(list, appliance.Dropped(t))
		}
	}
	if len(list) == 0 {
		return
	}
	if err := appliance.TellDropped(ctx, told.data, list); err != nil {
		log.Error("tries to get round the filter not told", "tries", len(list), "err", err)
		return
	}
	for _, t := range list {
		told.last[firewall.Try(t)] = now
	}
}

// cutting keeps what the gateway lets through besides the doors closed to devices in
// quarantine (R29).
type cutting struct {
	data string
	last string // in force
}

// keep asks the daemon who is in quarantine and closes to them. While it does not
// answer what it last said stays in force; before it ever did, nothing is passed on.
func (c *cutting) keep(ctx context.Context, rules *firewall.Rules, log *slog.Logger) {
	there, err := rules.HasCutOff(ctx)
	if err == nil {
		err = c.load(ctx, rules, there, log)
	}
	if err != nil && ctx.Err() == nil {
		log.Error("quarantine not brought to the firewall", "err", err)
	}
}

func (c *cutting) load(ctx context.Context, rules *firewall.Rules, there bool, log *slog.Logger) error {
	said, err := appliance.AskCutOff(ctx, c.data)
	if err != nil && there {
		return nil
	}
	if err != nil {
		log.Warn("nothing is passed on until the doors say which devices are in quarantine", "err", err)
		said = appliance.CutOff{All: true}
	}
	text := fmt.Sprint(said)
	if there && text == c.last {
		return nil
	}
	cut := firewall.CutOff{All: said.All, Addresses: said.Addresses}
	for _, h := range said.Hardware {
		hw, err := net.ParseMAC(h)
		if err != nil {
			return fmt.Errorf("the doors' answer: %w", err)
		}
		cut.Hardware = append(cut.Hardware, hw)
	}
	if err := rules.CutOff(ctx, cut); err != nil {
		return err
	}
	c.last = text
	return nil
}

func guard(ctx context.Context, rules *firewall.Rules, log *slog.Logger) {
	found, err := rules.Apply(ctx)
	switch {
	case ctx.Err() != nil: // told to stop in the midst of it
	case err != nil:
		log.Error("firewall rules not compared", "err", err)
	case !found.None():
		log.Warn("firewall rules were different and have been restored", "absent", found.Absent,
			"missing", len(found.Missing), "foreign", len(found.Foreign), "order", len(found.Order), "settings", found.Sysctls)
	}
}

// loadRules makes the rules of the configuration's gateway.
func loadRules(s *session, flag *configFlag) (*firewall.Rules, error) {
	cfg, err := flag.load(s)
	if err != nil {
		return nil, err
	}
	if len(cfg.Box.Gateway.Networks) == 0 {
		return nil, errors.New("this box is no gateway (write a gateway: block with wan and networks, see deploy/README.md)")
	}
	c, err := firewallConfig(s, cfg.Box)
	if err != nil {
		return nil, err
	}
	for _, w := range cfg.Warnings {
		if strings.HasPrefix(w.Text, "gateway.") {
			fmt.Fprintln(s.stderr, w.Error())
		}
	}
	rules, err := firewall.New(c)
	if err != nil {
		return nil, fmt.Errorf("%w: gateway:\n%w", errProblem, err)
	}
	return rules, nil
}

// firewallConfig is a box as package firewall sees one.
func firewallConfig(s *session, box configs.Box) (firewall.Config, error) {
	g := box.Gateway
	c := firewall.Config{
		WAN: g.WAN, Management: g.ManagementPorts,
		Doors: firewall.Doors{
			DNS: outward(box.DNS.Listen), HTTP: outward(box.Proxy.Transparent.HTTP), TLS: outward(box.Proxy.Transparent.TLS),
			Open: slices.Concat(outward(box.Proxy.Listen), outward(box.Proxy.TLSListen), outward(box.Proxy.PageListen), outward(box.DNS.DoTListen), outward(box.DNS.DoHListen)),
		},
	}
	for _, n := range g.Networks {
		c.Networks = append(c.Networks, firewall.Network{
			Name: n.Name, Interface: n.Interface, Box: n.Box, Behind: n.Behind, Management: slices.Contains(g.Management, n.Name),
		})
	}
	for _, a := range g.Allow {
		allow := firewall.Allow{From: a.From, To: a.To, Where: a.Rule.String()}
		for _, p := range a.Ports {
			allow.Ports = append(allow.Ports, firewall.Port(p))
		}
		c.Allow = append(c.Allow, allow)
	}
	for _, name := range g.DoHAddresses {
		list, err := readAddresses(s, name)
		if err != nil {
			return c, fmt.Errorf("gateway.doh_addresses: %w", err)
		}
		c.DoH = append(c.DoH, list...)
	}
	return c, nil
}

// outward are the listeners that a device in a network could reach.
func outward(all []netip.AddrPort) (out []netip.AddrPort) {
	for _, l := range all {
		if !l.Addr().IsLoopback() {
			out = append(out, l)
		}
	}
	return out
}

func readAddresses(s *session, name string) ([]netip.Prefix, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close() // read only: nothing can be lost
	list, passedOver, err := firewall.ReadAddresses(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if passedOver > 0 {
		fmt.Fprintf(s.stderr, "%s: %d ranges passed over, as they are private or too wide\n", name, passedOver)
	}
	return list, nil
}
