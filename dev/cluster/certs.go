package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	certsUsage = "usage: certs init DIRECTORY | certs user DIRECTORY NAME [GROUP ...]"
	// A local cluster that is used for longer than this is made anew.
	validity = 10 * 365 * 24 * time.Hour
)

// runCerts issues the certificates of one cluster:
//
//	certs init DIRECTORY                  CA, serving certificate, admin and service account key
//	certs user DIRECTORY NAME [GROUP ...] client certificate of one user, signed by that CA
func runCerts() int {
	if err := certs(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "certs:", err)
		return 1
	}
	return 0
}

func certs(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "init":
		return initCerts(args[1])
	case len(args) >= 3 && args[0] == "user":
		authority, err := loadAuthority(args[1])
		if err != nil {
			return fmt.Errorf("load the certificate authority: %w", err)
		}
		return authority.issueClient(args[2], args[2], args[3:])
	default:
		return errors.New(certsUsage)
	}
}

func initCerts(directory string) error {
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return err
	}
	authority, err := createAuthority(directory)
	if err != nil {
		return fmt.Errorf("create the certificate authority: %w", err)
	}
	if err := authority.issueServing("apiserver"); err != nil {
		return fmt.Errorf("issue the serving certificate: %w", err)
	}
	if err := authority.issueClient("admin", "admin", []string{"system:masters"}); err != nil {
		return fmt.Errorf("issue the admin certificate: %w", err)
	}
	if err := writeServiceAccountKey(directory); err != nil {
		return fmt.Errorf("create the service account key: %w", err)
	}
	return nil
}

// authority is the certificate authority of one cluster, kept in its directory.
type authority struct {
	directory   string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func createAuthority(directory string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template, err := newTemplate(pkix.Name{CommonName: "rota-local-ca"})
	if err != nil {
		return nil, err
	}
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	self := &authority{directory: directory, certificate: template, key: key}
	if err := self.write("ca", template, key); err != nil {
		return nil, err
	}
	return loadAuthority(directory)
}

func loadAuthority(directory string) (*authority, error) {
	certificate, err := readPEM(filepath.Join(directory, "ca.crt"))
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(certificate)
	if err != nil {
		return nil, err
	}
	encodedKey, err := readPEM(filepath.Join(directory, "ca.key"))
	if err != nil {
		return nil, err
	}
	key, err := x509.ParseECPrivateKey(encodedKey)
	if err != nil {
		return nil, err
	}
	return &authority{directory: directory, certificate: parsed, key: key}, nil
}

func (a *authority) issueServing(file string) error {
	template, err := newTemplate(pkix.Name{CommonName: "kube-apiserver"})
	if err != nil {
		return err
	}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	template.DNSNames = []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}
	// 10.0.0.1 is the first address of --service-cluster-ip-range: the Service "kubernetes".
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback, net.IPv4(10, 0, 0, 1)}
	return a.issue(file, template)
}

func (a *authority) issueClient(file, user string, groups []string) error {
	if filepath.Base(file) != file {
		return fmt.Errorf("user name %q cannot name a file", file)
	}
	template, err := newTemplate(pkix.Name{CommonName: user, Organization: groups})
	if err != nil {
		return err
	}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return a.issue(file, template)
}

func (a *authority) issue(file string, template *x509.Certificate) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	return a.write(file, template, key)
}

// write signs the template and writes FILE.crt and FILE.key.
func (a *authority) write(file string, template *x509.Certificate, key *ecdsa.PrivateKey) error {
	certificate, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		return err
	}
	path := filepath.Join(a.directory, file)
	if err := writeKey(path+".key", key); err != nil {
		return err
	}
	return writePEM(path+".crt", "CERTIFICATE", certificate, 0o644)
}

func newTemplate(subject pkix.Name) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      subject,
		// Clocks of machines that share a file system may differ.
		NotBefore: time.Now().Add(-time.Hour),
		NotAfter:  time.Now().Add(validity),
	}, nil
}

// The service account key signs tokens; the API server and the controller
// manager read the public half from the same file.
func writeServiceAccountKey(directory string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	return writeKey(filepath.Join(directory, "service-account.key"), key)
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	encoded, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(path, "EC PRIVATE KEY", encoded, 0o600)
}

func writePEM(path, kind string, content []byte, mode os.FileMode) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), mode)
}

func readPEM(path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM block", path)
	}
	return block.Bytes, nil
}
