package lab

import (
	"flag"
	"log"
	"os"
	"testing"
)

// Rows of the catalogue wait more than they work, so more of them run at once than
// there are processors.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "48"); err != nil {
		log.Fatal(err)
	}
	os.Exit(m.Run())
}
