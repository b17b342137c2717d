package categories

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	// keyFile holds the key, in the folder of the stores.
	keyFile = "mandatory.key"
	// credentialName is the systemd credential that holds the key of mandatory
	// lists, where the school seals it to the machine (LoadCredentialEncrypted=).
	credentialName = "schoolgate-mandatory-key"
	// sealedMark lies in place of the key file where the key is a credential, so
	// that a command started without it does not make a key of its own.
	sealedMark = "mandatory.key.is-a-credential"
)

// StoreKey is the key of the stores in a folder: the credential that systemd
// hands over, or else the file beside them, made on first use.
func StoreKey(dir string) ([]byte, error) {
	key, err := credentialKey(os.Getenv("CREDENTIALS_DIRECTORY"))
	switch {
	case err == nil && key != nil:
		err = noteSealed(dir, key)
	case err == nil:
		key, err = unsealedKey(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("key of the mandatory lists: %w", err)
	}
	return key, nil
}

// credentialKey is the key among the credentials of this process, nil for none.
func credentialKey(credentials string) ([]byte, error) {
	if credentials == "" {
		return nil, nil
	}
	path := filepath.Join(credentials, credentialName)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if info.Size() != KeySize {
		return nil, fmt.Errorf("the credential %s has %d bytes, want %d", credentialName, info.Size(), KeySize)
	}
	return os.ReadFile(path)
}

// noteSealed marks the folder. A key file that is another key means that its
// stores cannot be read by this one; the same key in clear makes sealing vain.
func noteSealed(dir string, key []byte) error {
	file := filepath.Join(dir, keyFile)
	switch clear, err := os.ReadFile(file); {
	case err == nil && subtle.ConstantTimeCompare(clear, key) == 1:
		return fmt.Errorf("%s still holds in clear the key that the credential seals: remove the file", file)
	case err == nil:
		return fmt.Errorf("%s is another key than the credential %s: seal that very file, or remove it and build the store anew", file, credentialName)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, sealedMark), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// unsealedKey is the key file, unless the key of the folder is a credential.
func unsealedKey(dir string) ([]byte, error) {
	if _, err := os.Stat(filepath.Join(dir, sealedMark)); err == nil {
		return nil, fmt.Errorf("it is the systemd credential %s, which this process was not given: run it with systemd-run and the same LoadCredentialEncrypted= as the service", credentialName)
	}
	return LoadOrCreateKey(filepath.Join(dir, keyFile))
}

// ReadingKey is the key of the stores in a folder for one who only reads them:
// none is made. Without any, a store that holds mandatory lists does not open,
// and says that its key is missing.
func ReadingKey(dir string) ([]byte, error) {
	for _, name := range []string{keyFile, sealedMark} {
		if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return StoreKey(dir)
		}
	}
	key, err := credentialKey(os.Getenv("CREDENTIALS_DIRECTORY"))
	if err != nil {
		return nil, fmt.Errorf("key of the mandatory lists: %w", err)
	}
	return key, nil
}
