package layering

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "schoolgate"

// mayImport says which of our packages a package may import: STYLE.md's table. A
// package that is not in it fails. Tests may import more; see forTestsOnly.
var mayImport = map[string][]string{
	"policy": nil,

	"categories": {"policy", "internal/siphash", "internal/durable"},
	"clients":    {"policy", "internal/durable"},
	"blocklists": {"policy", "internal/durable"},
	"configs":    {"policy"},
	"blockpage":  {"policy"},
	"alerts":     {"policy", "internal/inside"},
	"reports":    {"policy"},
	"terms":      {"policy", "internal/phrases"},
	"incidents":  {"policy", "audit"},
	"console":    {"policy", "alerts", "reports"},
	"firewall":   {"policy"},
	"redaction":  {"policy"},
	"helpcount":  {"policy"},
	"control":    nil, // a socket, and what goes over it is its users'

	"audit":       {"policy", "internal/durable"},
	"audit/index": {"policy", "audit", "internal/durable"}, // made of the journal, and asked what the journal is

	// What a box does by its configuration, whether it is running or a command does it.
	"supply":          {"policy", "configs", "audit", "control", "redaction", "categories", "blocklists", "internal/durable"},
	"quality":         {"policy", "configs", "categories", "blocklists", "supply"}, // of lists
	"sealing":         {"policy", "configs", "audit", "incidents", "redaction", "helpcount"},
	"containment":     {"policy", "configs", "clients", "categories", "incidents", "redaction", "internal/durable"},
	"acts":            {"policy", "configs", "audit", "control", "redaction", "supply"},
	"retention":       {"policy", "configs", "audit", "control", "redaction", "supply", "acts", "incidents"},
	"evidence":        {"policy", "configs", "audit", "supply", "incidents", "internal/durable"},
	"desk":            {"policy", "configs", "audit", "control", "supply", "acts", "alerts", "incidents"},
	"terms/revisions": {"policy", "configs", "redaction", "supply", "acts", "terms"},

	"dnsfilter":          {"policy", "dnsfilter/upstream", "dnsfilter/dnssec", "internal/siphash"},
	"dnsfilter/upstream": {"policy", "dnsfilter/dnssec"},
	"dnsfilter/dnssec":   nil, // knows of the DNS and of nothing else
	"proxy":              {"policy", "proxy/socket", "proxy/pipe", "proxy/http1", "proxy/gate", "proxy/origins", "proxy/destination", "proxy/sniff", "proxy/nested", "proxy/inspect", "proxy/pagescan"},
	"proxy/socket":       nil, // what the kernel knows of connections
	"proxy/pipe":         {"proxy/socket"},
	"proxy/http1":        {"proxy/socket"},
	"proxy/gate":         nil, // counts addresses
	"proxy/origins":      {"policy", "proxy/destination", "proxy/inspect", "proxy/socket"},
	"proxy/destination":  {"internal/inside"},
	"proxy/sniff":        {"policy"},
	"proxy/nested":       {"policy"},
	"proxy/inspect":      {"policy"},
	"proxy/pagescan":     {"policy", "internal/phrases"},
	"proxy/bench":        nil, // measurements, all in tests

	"appliance": {
		"policy", "categories", "clients", "blocklists", "configs", "blockpage", "audit", "audit/index", "alerts", "reports", "console",
		"containment", "incidents", "control", "supply", "redaction", "helpcount", "sealing", "acts", "retention", "desk",
		"dnsfilter", "dnsfilter/dnssec", "proxy", "proxy/inspect", "proxy/pagescan", "terms", "terms/revisions",
	},
	// The command builds the appliance; it imports besides what a subcommand prints.
	"cmd/schoolgate": {"appliance", "control", "supply", "acts", "retention", "evidence", "desk", "quality", "configs", "policy", "categories", "clients", "blocklists", "audit", "audit/index", "alerts", "containment", "incidents", "firewall", "proxy/inspect", "proxy/pagescan", "terms", "terms/revisions"},

	"internal/testkit":     {"policy"},
	"internal/testkit/lab": {"internal/testkit"},
	"internal/layering":    nil,
	"internal/durable":     nil, // files and folders
	"internal/inside":      nil, // ranges of addresses
	"internal/phrases":     nil, // algorithms that know nothing of us
	"internal/siphash":     nil,
}

// policyLibraries is all that policy may import beyond the standard library.
var policyLibraries = []string{"golang.org/x/net/idna"}

// forTestsOnly may be imported by test files and by nothing else.
const forTestsOnly = "internal/testkit"

// forbidden is what no source but a test may name, and why.
var forbidden = map[string]string{
	"InsecureSkipVerify": "G2: upstream certificates are always verified",
	"GoproxyCa":          "G3: goproxy's own authority is known to the world",
}

func TestLayering(t *testing.T) {
	root := filepath.Join("..", "..")
	packages := 0
	seen := map[string]bool{}
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if entry.IsDir() {
			if base := entry.Name(); rel != "." && (strings.HasPrefix(base, ".") || base == "testdata" || rel == "var") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") {
			return nil
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		if pkg := path.Dir(rel); !seen[pkg] {
			seen[pkg] = true
			packages++
		}
		for _, fault := range faults(rel, fset, file) {
			t.Error(fault)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if packages < 3 {
		t.Errorf("read %d packages of the module, want all of them", packages)
	}
}

// faults is all that is wrong with a file, each with its place.
func faults(rel string, fset *token.FileSet, file *ast.File) (found []string) {
	fault := func(at token.Pos, text string) {
		found = append(found, rel+":"+strconv.Itoa(fset.Position(at).Line)+": "+text)
	}
	pkg := path.Dir(rel)
	allowed, known := mayImport[pkg]
	if !known {
		fault(file.Package, "package "+pkg+" is not in mayImport: say what it may import")
	}
	if strings.HasSuffix(rel, "_test.go") {
		return found
	}
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			fault(spec.Pos(), err.Error())
			continue
		}
		if text := importFault(pkg, imported, allowed); text != "" {
			fault(spec.Pos(), text)
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			if why := forbidden[n.Name]; why != "" {
				fault(n.Pos(), n.Name+" is forbidden ("+why+")")
			}
		case *ast.FuncDecl:
			if n.Recv == nil && n.Name.Name == "init" {
				fault(n.Pos(), "func init: nothing happens before main")
			}
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "os" && n.Sel.Name == "Exit" && !strings.HasPrefix(rel, "cmd/") {
				fault(n.Pos(), "os.Exit outside cmd: return an error")
			}
		}
		return true
	})
	return found
}

// importFault says what is wrong with one import, "" if nothing is.
func importFault(pkg, imported string, allowed []string) string {
	ours, internal := strings.CutPrefix(imported, module+"/")
	switch {
	case internal && ours == forTestsOnly && !strings.HasPrefix(pkg, forTestsOnly+"/"): // which is for tests, too
		return ours + " is for tests only"
	case internal && !slices.Contains(allowed, ours):
		return pkg + " may not import " + ours
	case !internal && pkg == "policy" && !standard(imported) && !slices.Contains(policyLibraries, imported):
		return "policy may not import " + imported + ": it stands on the standard library and idna"
	}
	return ""
}

// standard reports whether an import is of the standard library, whose paths
// begin with no domain.
func standard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}

// The checks themselves bite.
func TestFaults(t *testing.T) {
	for _, test := range []struct{ promise, file, source, want string }{
		{"what is allowed", "audit/a.go", `import "schoolgate/policy"`, ""},
		{"a room of its own", "proxy/a.go", `import "schoolgate/proxy/sniff"`, ""},
		{"a neighbour", "audit/a.go", `import "schoolgate/alerts"`, "audit may not import alerts"},
		{"another's room", "dnsfilter/a.go", `import "schoolgate/proxy/sniff"`, "dnsfilter may not import proxy/sniff"},
		{"upwards", "policy/a.go", `import "schoolgate/categories"`, "policy may not import categories"},
		{"policy and a library", "policy/a.go", `import "go.etcd.io/bbolt"`, "policy may not import go.etcd.io/bbolt"},
		{"policy and idna", "policy/a.go", `import "golang.org/x/net/idna"`, ""},
		{"policy and the standard library", "policy/a.go", `import "net/netip"`, ""},
		{"testkit in the product", "appliance/a.go", `import "schoolgate/internal/testkit"`, "for tests only"},
		{"testkit in the lab", "internal/testkit/lab/a.go", `import "schoolgate/internal/testkit"`, ""},
		{"testkit in a test", "audit/a_test.go", `import "schoolgate/internal/testkit"`, ""},
		{"a package nobody placed", "util/a.go", ``, "package util is not in mayImport"},
		{"a package of tests nobody placed", "util/a_test.go", ``, "package util is not in mayImport"},
		{"certificates unchecked (G2)", "proxy/a.go", `var c = tls.Config{InsecureSkipVerify: true}`, "G2"},
		{"certificates unchecked later (G2)", "proxy/a.go", `func f() { c.InsecureSkipVerify = true }`, "G2"},
		{"certificates unchecked in a test", "proxy/a_test.go", `var c = tls.Config{InsecureSkipVerify: true}`, ""},
		{"goproxy's authority (G3)", "proxy/a.go", `var ca = goproxy.GoproxyCa`, "G3"},
		{"init", "audit/a.go", `func init() {}`, "func init"},
		{"a method named init", "audit/a.go", `func (j *Journal) init() {}`, ""},
		{"exit", "audit/a.go", `func f() { os.Exit(1) }`, "os.Exit outside cmd"},
		{"exit in a command", "cmd/schoolgate/a.go", `func f() { os.Exit(1) }`, ""},
	} {
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, test.file, "package p\n"+test.source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(faults(test.file, fset, file), "\n")
		if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: faults = %q, want %q", test.promise, got, test.want)
		}
	}
}
