package inspect

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	texttemplate "text/template"
	"time"
)

//go:embed templates
var templates embed.FS

var (
	stepsPage = template.Must(template.ParseFS(templates, "templates/steps.html"))
	profile   = texttemplate.Must(texttemplate.New("school-ca.mobileconfig").Funcs(texttemplate.FuncMap{
		"xml": texttemplate.HTMLEscapeString,
	}).ParseFS(templates, "templates/school-ca.mobileconfig"))
)

// Export writes what devices are given into a folder and returns the names of
// the files: for every authority its certificate as PEM, DER and Apple profile,
// all of them together as one PEM, and a page of steps for each kind of device.
// No key is among them.
func Export(all []*Authority, dir string) ([]string, error) {
	var bundle bytes.Buffer
	files := map[string][]byte{}
	var order []string
	add := func(name string, b []byte) {
		files[name] = b
		order = append(order, name)
	}
	for _, a := range all {
		base := fmt.Sprintf("school-ca-%d", a.Number)
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate.Raw})
		bundle.Write(text)
		apple, err := mobileconfig(a)
		if err != nil {
			return nil, err
		}
		add(base+".pem", text)
		add(base+".cer", a.Certificate.Raw)
		add(base+".mobileconfig", apple)
	}
	steps, err := stepsFor(all)
	if err != nil {
		return nil, err
	}
	add("school-ca-all.pem", bundle.Bytes())
	add("how-to-install.html", steps)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	for _, name := range order {
		if err := os.WriteFile(filepath.Join(dir, name), files[name], 0o644); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// mobileconfig is the certificate as a profile for iPads and Macs. Its
// identifiers come from the certificate, so that installing it again replaces it.
func mobileconfig(a *Authority) ([]byte, error) {
	sum := sha256.Sum256(a.Certificate.Raw)
	view := struct{ Name, ID, ProfileUUID, PayloadUUID, DER string }{
		Name: a.Certificate.Subject.CommonName, ID: fmt.Sprintf("%x", sum[:6]),
		ProfileUUID: uuid(sum[:16]), PayloadUUID: uuid(sum[16:]),
		DER: base64.StdEncoding.EncodeToString(a.Certificate.Raw),
	}
	var b bytes.Buffer
	err := profile.Execute(&b, view)
	return b.Bytes(), err
}

func uuid(b []byte) string {
	return fmt.Sprintf("%X-%X-%X-%X-%X", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

func stepsFor(all []*Authority) ([]byte, error) {
	type row struct{ Base, Name, Fingerprint, Until, From string }
	var rows []row
	for _, a := range all {
		rows = append(rows, row{
			fmt.Sprintf("school-ca-%d", a.Number), a.Certificate.Subject.CommonName, a.Fingerprint(),
			a.Certificate.NotAfter.Format(time.DateOnly), a.SignsFrom.Format(time.DateOnly),
		})
	}
	var b bytes.Buffer
	err := stepsPage.Execute(&b, rows)
	return b.Bytes(), err
}
