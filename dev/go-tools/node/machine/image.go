package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

const layout = `{"imageLayoutVersion":"1.0.0"}`

// runImage writes an OCI archive of one static program: no base image is needed.
func runImage(arguments []string) error {
	flags := flag.NewFlagSet("image", flag.ExitOnError)
	program := flags.String("program", "", "the program, which becomes the entry point")
	name := flags.String("name", "", "name of the image")
	user := flags.String("user", "0", "user id it runs as unless a pod says otherwise")
	output := flags.String("output", "", "the archive")
	_ = flags.Parse(arguments)
	if *program == "" || *name == "" || *output == "" {
		return errors.New("-program, -name and -output are needed")
	}
	archive, err := imageOf(*program, *name, *user)
	if err != nil {
		return err
	}
	return os.WriteFile(*output, archive, 0o644)
}

type object map[string]any

// blob is a content of the archive, which is known by its digest.
type blob struct {
	mediaType string
	content   []byte
}

func (b blob) digest() string {
	sum := sha256.Sum256(b.content)
	return hex.EncodeToString(sum[:])
}

func (b blob) descriptor() object {
	return object{"mediaType": b.mediaType, "digest": "sha256:" + b.digest(), "size": len(b.content)}
}

func imageOf(program, name, user string) ([]byte, error) {
	entry := "/bin/" + filepath.Base(program)
	files, err := filesOf(program, entry)
	if err != nil {
		return nil, err
	}
	layer := blob{"application/vnd.oci.image.layer.v1.tar+gzip", zip(files)}
	unzipped := blob{content: files}
	config := jsonBlob("application/vnd.oci.image.config.v1+json", object{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config":       object{"Entrypoint": []string{entry}, "User": user, "Env": []string{"PATH=/bin"}, "WorkingDir": "/"},
		"rootfs":       object{"type": "layers", "diff_ids": []string{"sha256:" + unzipped.digest()}},
	})
	manifest := jsonBlob("application/vnd.oci.image.manifest.v1+json", object{
		"schemaVersion": 2,
		"mediaType":     "application/vnd.oci.image.manifest.v1+json",
		"config":        config.descriptor(),
		"layers":        []object{layer.descriptor()},
	})
	entryOfIndex := manifest.descriptor()
	entryOfIndex["annotations"] = object{"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
	index := jsonBlob("", object{"schemaVersion": 2, "manifests": []object{entryOfIndex}})
	var out bytes.Buffer
	writer := tar.NewWriter(&out)
	err = errors.Join(
		addFile(writer, "oci-layout", []byte(layout), 0o644),
		addFile(writer, "index.json", index.content, 0o644),
	)
	for _, b := range []blob{config, manifest, layer} {
		err = errors.Join(err, addFile(writer, "blobs/sha256/"+b.digest(), b.content, 0o644))
	}
	return out.Bytes(), errors.Join(err, writer.Close())
}

func filesOf(program, entry string) ([]byte, error) {
	content, err := os.ReadFile(program)
	if err != nil {
		return nil, fmt.Errorf("read the program: %w", err)
	}
	var out bytes.Buffer
	writer := tar.NewWriter(&out)
	folders := map[string]int64{"bin/": 0o755, "data/": 0o1777, "etc/": 0o755, "tmp/": 0o1777}
	for _, folder := range []string{"bin/", "data/", "etc/", "tmp/"} {
		err = errors.Join(err, writer.WriteHeader(&tar.Header{Name: folder, Typeflag: tar.TypeDir, Mode: folders[folder]}))
	}
	accounts := "root:x:0:0:root:/:/bin/work\nnobody:x:65534:65534:nobody:/:/bin/work\n"
	err = errors.Join(
		err,
		addFile(writer, "etc/passwd", []byte(accounts), 0o644),
		addFile(writer, "etc/group", []byte("root:x:0:\nnobody:x:65534:\n"), 0o644),
		addFile(writer, entry[1:], content, 0o755),
		writer.Close(),
	)
	return out.Bytes(), err
}

func addFile(writer *tar.Writer, name string, content []byte, mode int64) error {
	header := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(content))}
	if err := writer.WriteHeader(header); err != nil {
		return err
	}
	_, err := writer.Write(content)
	return err
}

// zip cannot fail: it writes to memory.
func zip(content []byte) []byte {
	var out bytes.Buffer
	writer := gzip.NewWriter(&out)
	_, _ = writer.Write(content)
	_ = writer.Close()
	return out.Bytes()
}

func jsonBlob(mediaType string, content object) blob {
	encoded, _ := json.Marshal(content) // maps, slices, strings and numbers only
	return blob{mediaType, encoded}
}
