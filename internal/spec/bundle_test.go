package spec

import (
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestVerifyRecordedBundles(t *testing.T) {
	for _, c := range []struct {
		file, key string
		want      Verification
	}{
		{"vector_valid.json", "test-key", Verification{Valid: true, DigestValid: true, SignatureValid: true, Errors: []string{}}},
		{"vector_valid.json", "other", Verification{DigestValid: true, Errors: []string{"Bundle signature is invalid."}}},
		{"vector_tampered_spec.json", "test-key", Verification{
			Errors: []string{"Spec digest does not match bundle contents.", "Bundle signature is invalid."},
		}},
		{"vector_tampered_approver.json", "test-key", Verification{DigestValid: true, Errors: []string{"Bundle signature is invalid."}}},
	} {
		got, err := Verify(readFile(t, corpus+"/bundles/"+c.file), []byte(c.key))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s with %s (-want +got):\n%s", c.file, c.key, diff)
		}
	}
}

// TestSignMakesTheRecordedBundle signs the spec of the recorded bundle again
// and gets the same bytes.
func TestSignMakesTheRecordedBundle(t *testing.T) {
	want := readFile(t, corpus+"/bundles/vector_valid.json")
	info, err := Inspect(want)
	if err != nil {
		t.Fatal(err)
	}
	got, digest, err := Sign(info.Spec, Approval{
		ApprovedBy: "alice", KeyID: "KNEO_SERV_SPEC_SIGNING_KEY", CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC),
	}, []byte("test-key"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("bundle (-want +got):\n%s", diff)
	}
	if digest != info.Digest {
		t.Errorf("digest %s, want %s", digest, info.Digest)
	}
}

func TestSignRefuses(t *testing.T) {
	tree, _, err := Parse("s.yaml", []byte("version: v1\nmetadata: {since: 2024-01-01}\n"), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Sign(tree, Approval{}, []byte("k")); err == nil {
		t.Error("a timestamp was signed")
	}
	if _, _, err := Sign(tree, Approval{}, nil); err == nil {
		t.Error("signed without a key")
	}
	if _, err := Verify([]byte("{}"), nil); err == nil {
		t.Error("verified without a key")
	}
}
