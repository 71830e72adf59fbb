package spec

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/kneo-go/kneo/internal/problem"
)

// BundleKind and BundleVersion mark a signed bundle.
const (
	BundleKind    = "kneo.spec.bundle"
	BundleVersion = "v1"
)

func noKey() error {
	return problem.New(problem.InvalidRequest, "A non-empty signing key is required.")
}

// Approval is who signs a spec, for which environment, and when.
type Approval struct {
	ApprovedBy  string
	Environment string
	CreatedAt   time.Time
	// KeyID names where the key comes from; it is not secret.
	KeyID string
}

// Sign makes a bundle of a spec, which is migrated and otherwise left as it
// is. It returns the bundle as indented JSON and the digest of the spec.
func Sign(tree *Node, approval Approval, key []byte) (bundle []byte, digest string, err error) {
	if len(key) == 0 {
		return nil, "", noKey()
	}
	if err := requireMapping(tree); err != nil {
		return nil, "", err
	}
	if tree, _, err = Migrate(tree); err != nil {
		return nil, "", err
	}
	if n := unsignable(tree); n != nil {
		return nil, "", AsProblem(&SyntaxError{
			Message: "A value that JSON cannot hold (" + n.Kind.String() + " " + n.Value + ") cannot be signed; write it as a string.", Pos: n.Pos,
		})
	}
	environment := &Node{}
	if approval.Environment != "" {
		environment = NewString(approval.Environment)
	}
	digest = digestOf(tree)
	root := NewMapping().With("kind", NewString(BundleKind)).With("version", NewString(BundleVersion)).
		With("metadata", NewMapping().With("approved_by", NewString(approval.ApprovedBy)).With("environment", environment).
			With("created_at", NewString(approval.CreatedAt.UTC().Format("2006-01-02T15:04:05.000000+00:00")))).
		With("spec", tree).
		With("digest", NewMapping().With("algorithm", NewString("SHA256")).With("value", NewString(digest)))
	root = root.With("signature", NewMapping().With("algorithm", NewString("HMAC-SHA256")).
		With("key_id", NewString(approval.KeyID)).With("value", NewString(signatureOf(root, key))))
	return indented(nil, root, ""), digest, nil
}

// unsignable finds a value without a JSON form.
func unsignable(n *Node) *Node {
	switch n.Kind {
	case Timestamp:
		return n
	case Float:
		if f, ok := n.AsFloat(); !ok || f-f != 0 {
			return n
		}
	}
	for _, item := range n.Items {
		if bad := unsignable(item); bad != nil {
			return bad
		}
	}
	for i := range n.Entries {
		if bad := unsignable(n.Entries[i].Value); bad != nil {
			return bad
		}
	}
	return nil
}

func digestOf(n *Node) string {
	sum := sha256.Sum256(n.Canonical())
	return hex.EncodeToString(sum[:])
}

// signatureOf covers every member of the bundle but the signature itself.
func signatureOf(bundle *Node, key []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write(bundle.Without("signature").Canonical())
	return hex.EncodeToString(mac.Sum(nil))
}

// Verification says what is wrong with a bundle; it is valid without errors.
type Verification struct {
	Valid          bool     `json:"valid"`
	DigestValid    bool     `json:"digest_valid"`
	SignatureValid bool     `json:"signature_valid"`
	Errors         []string `json:"errors"`
}

// Verify checks kind, version, digest and signature of a bundle. An error
// means that there is no key or that the text is not a JSON object.
func Verify(data, key []byte) (Verification, error) {
	if len(key) == 0 {
		return Verification{}, noKey()
	}
	root, err := readBundle(data)
	if err != nil {
		return Verification{}, err
	}
	v := Verification{Errors: []string{}}
	if root.Get("kind").Text() != BundleKind {
		v.Errors = append(v.Errors, "Invalid bundle kind.")
	}
	if root.Get("version").Text() != BundleVersion {
		v.Errors = append(v.Errors, "Invalid bundle version.")
	}
	tree := root.Get("spec")
	if !tree.IsMapping() {
		v.Errors = append(v.Errors, "Bundle spec must be an object.")
		return v, nil
	}
	v.DigestValid = equal(digestOf(tree), root.At("digest", "value").Text())
	if !v.DigestValid {
		v.Errors = append(v.Errors, "Spec digest does not match bundle contents.")
	}
	v.SignatureValid = equal(signatureOf(root, key), root.At("signature", "value").Text())
	if !v.SignatureValid {
		v.Errors = append(v.Errors, "Bundle signature is invalid.")
	}
	v.Valid = len(v.Errors) == 0
	return v, nil
}

func equal(a, b string) bool { return hmac.Equal([]byte(a), []byte(b)) }

func readBundle(data []byte) (*Node, error) {
	root, _, err := ParseJSON("bundle", data, Limits{Bytes: 4 << 20})
	if err != nil {
		return nil, AsProblem(err)
	}
	if err := requireMapping(root); err != nil {
		return nil, err
	}
	return root, nil
}

// BundleInfo is what a bundle says of itself, believed or not.
type BundleInfo struct {
	Kind        string `json:"kind"`
	Version     string `json:"version"`
	ApprovedBy  string `json:"approved_by"`
	Environment string `json:"environment,omitempty"`
	CreatedAt   string `json:"created_at"`
	Digest      string `json:"digest"`
	Algorithm   string `json:"algorithm"`
	KeyID       string `json:"key_id"`
	// Spec is the signed spec.
	Spec *Node `json:"-"`
}

// Inspect reads a bundle without checking it.
func Inspect(data []byte) (BundleInfo, error) {
	root, err := readBundle(data)
	if err != nil {
		return BundleInfo{}, err
	}
	return BundleInfo{
		Kind: root.Get("kind").Text(), Version: root.Get("version").Text(),
		ApprovedBy:  root.At("metadata", "approved_by").Text(),
		Environment: root.At("metadata", "environment").Text(), CreatedAt: root.At("metadata", "created_at").Text(),
		Digest: root.At("digest", "value").Text(), Algorithm: root.At("signature", "algorithm").Text(),
		KeyID: root.At("signature", "key_id").Text(), Spec: root.Get("spec"),
	}, nil
}
