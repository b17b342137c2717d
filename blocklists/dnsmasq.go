package blocklists

import "strings"

// dnsmasqLine reads address=/a/b/target, server=/a/ and local=/a/. Lines that
// forward or answer with a real address do not block.
func (s *scan) dnsmasqLine(line string) error {
	if line = uncomment(line); line == "" {
		return nil
	}
	key, value, ok := strings.Cut(line, "=")
	if !ok {
		return s.refused(NotDnsmasq, line)
	}
	switch strings.TrimSpace(key) {
	case "address", "server", "local":
	default:
		return s.refused(Directive, line)
	}
	value = strings.TrimSpace(value)
	last := strings.LastIndexByte(value, '/')
	if last < 1 || value[0] != '/' {
		return s.refused(NotDnsmasq, line)
	}
	if target := value[last+1:]; !blocks(strings.TrimSpace(key), target) {
		return s.refused(Forwards, line)
	}
	for name := range strings.SplitSeq(value[1:last], "/") {
		if name == "#" || name == "" {
			if err := s.refused(Everything, line); err != nil {
				return err
			}
			continue
		}
		if err := s.name(name, false); err != nil {
			return err
		}
	}
	return nil
}

// blocks reports whether a dnsmasq target answers that there is no such host.
func blocks(key, target string) bool {
	if target == "" {
		return true
	}
	return key == "address" && (target == "#" || sinkAddress(target))
}
