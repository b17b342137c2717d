package appliance

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"schoolgate/blocklists"
	"schoolgate/categories"
	"schoolgate/configs"
	"schoolgate/policy"
	"schoolgate/supply"
)

// standInFile holds the starter lists that stand in for stores which cannot be
// read. It is no version: those stay where they are, to be mended or looked at.
const standInFile = "stand-in.db"

// buildStandIn builds the starter lists for a box whose own stores are all
// damaged, or whose key is lost. While they are in force the policy is [closed].
func (a *Appliance) buildStandIn(ctx context.Context, key []byte) (*categories.Store, error) {
	version, err := a.dir.Next()
	if err != nil {
		return nil, fmt.Errorf("category store: %w", err)
	}
	store, err := a.starterAt(ctx, filepath.Join(a.box().Lists.Store, standInFile), version, key)
	if err != nil {
		return nil, err
	}
	a.standIn.Store(store)
	return store, nil
}

// starterAt builds the starter lists at a path and opens them.
func (a *Appliance) starterAt(ctx context.Context, path string, version uint64, key []byte) (*categories.Store, error) {
	if _, err := supply.BuildLists(ctx, supply.ListsBuild{Feeds: blocklists.Starter(), Out: path, Version: version, Key: key, Log: a.log}); err != nil {
		return nil, fmt.Errorf("starter lists: %w", err)
	}
	store, err := categories.Open(path, key, categories.WithMetrics(a.stores), categories.WithLog(a.log))
	if err != nil {
		return nil, fmt.Errorf("starter lists: %w", err)
	}
	return store, nil
}

// standsIn reports whether a store stands in for the box's own.
func (a *Appliance) standsIn(s *categories.Store) bool { return a.standIn.Load() == s }

// policyOver is the policy of a configuration, as it is to be over a store.
func (a *Appliance) policyOver(cfg *configs.Config, store *categories.Store) (*policy.Policy, error) {
	if !a.standsIn(store) {
		return cfg.School.Policy, nil
	}
	p, problems := policy.Compile(closed(cfg.School.Spec))
	if len(problems) > 0 {
		return nil, fmt.Errorf("policy, closed for want of a category store: %w", problems[0])
	}
	return p, nil
}

// closed is a policy for pupils over lists that know very little (fault F5):
// what they do not know is blocked, so that a broken store is no way out. What
// an adult approved, and what the starter lists know to be fit, stays open.
func closed(spec policy.Spec) policy.Spec {
	spec.Version += "+closed"
	spec.Profiles = slices.Clone(spec.Profiles)
	for i := range spec.Profiles {
		if p := &spec.Profiles[i]; p.Band.Pupil() {
			p.Uncategorised, p.UncategorisedRule = policy.Block, policy.Pos{}
		}
	}
	return spec
}
