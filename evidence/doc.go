// Package evidence is the bundle that a box hands over of an incident: all steps of
// its register, the log entries it names, and what the same device asked for around
// that time, signed with a key of the box's own ([audit.BundleWriter]). What another child
// did is not in it, and the address of a mandatory hit only sealed.
package evidence
