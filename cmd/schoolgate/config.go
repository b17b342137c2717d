package main

import (
	"errors"
	"fmt"
	"os"

	"schoolgate/blocklists"
	"schoolgate/configs"
	"schoolgate/policy"
)

// systemConfig is where a deployed box keeps its configuration.
const systemConfig = "/etc/schoolgate/schoolgate.yaml"

// configFlag is shared by every command that needs the configuration.
type configFlag struct {
	Config string `help:"schoolgate.yaml, or a policy.yaml alone (default: $SCHOOLGATE_CONFIG, ${system_config} if it exists, else the sample school)." env:"SCHOOLGATE_CONFIG" placeholder:"FILE"`
}

// path is the configuration file, "" for the sample school in the binary.
func (c *configFlag) path() string {
	if c.Config != "" {
		return c.Config
	}
	if _, err := os.Stat(systemConfig); err == nil {
		return systemConfig
	}
	return ""
}

// loadConfig reads a configuration, with the feeds that are written in it.
func loadConfig(path string) (*configs.Config, []policy.Problem) {
	cfg, problems := configs.Load(path)
	if len(problems) == 0 && cfg != nil && cfg.Box.Lists.Here {
		_, problems = blocklists.LoadFeeds(cfg.Box.Lists.Feeds)
	}
	return cfg, problems
}

// load reads the configuration; every problem is shown, each with its place.
func (c *configFlag) load(s *session) (*configs.Config, error) {
	cfg, problems := loadConfig(c.path())
	if len(problems) > 0 {
		for _, p := range problems {
			fmt.Fprintln(s.stderr, p.Error())
		}
		return nil, fmt.Errorf("%w in the configuration %s: %d; nothing was changed", errProblem, c.path(), len(problems))
	}
	if cfg == nil {
		return nil, errors.New("the configuration is empty")
	}
	return cfg, nil
}
