// Package acts is what people do with the box, written into its journal: who, what,
// to what end. A command records its act before it carries it out, so that nothing is
// done which nobody would know of: through the daemon where one is running, else by
// itself.
package acts
