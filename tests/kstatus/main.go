// Command kstatus prints what the published kstatus rules say of each object that it reads: one JSON object a line in,
// one JSON object {"status", "message"} a line out. Flux and others judge by these very rules.
package main

import (
	"encoding/json"
	"log"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

func main() {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for in.More() {
		var raw json.RawMessage
		var object unstructured.Unstructured
		if err := in.Decode(&raw); err != nil {
			log.Fatalf("reading JSON: %v", err)
		}
		if err := object.UnmarshalJSON(raw); err != nil {
			log.Fatalf("reading an object: %v", err)
		}
		result, err := status.Compute(&object)
		if err != nil {
			log.Fatalf("computing the status of %s: %v", object.GetName(), err)
		}
		if err := out.Encode(map[string]string{"status": result.Status.String(), "message": result.Message}); err != nil {
			log.Fatal(err)
		}
	}
}
