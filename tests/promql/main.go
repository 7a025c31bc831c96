// Command promql evaluates PromQL over scrapes: on standard input one JSON object with the scrapes (milliseconds since
// the epoch, and the text as it was served) and the queries; on standard output, per query, its series or its error.
package main

import (
	"context"
	"encoding/json"
	"log"
	"math"
	"os"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/tsdb"
)

type input struct {
	Scrapes []struct {
		Time int64             `json:"time"`
		Text string            `json:"text"`
		Job  map[string]string `json:"labels"`
	} `json:"scrapes"`
	Queries []string `json:"queries"`
}

type series struct {
	Labels map[string]string `json:"labels"`
	Value  float64           `json:"value"`
}

type answer struct {
	Query  string   `json:"query"`
	Error  string   `json:"error,omitempty"`
	Series []series `json:"series"`
}

func main() {
	var asked input
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		log.Fatalf("reading the question: %v", err)
	}
	directory, err := os.MkdirTemp("", "promql")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(directory)
	db, err := tsdb.Open(directory, nil, nil, tsdb.DefaultOptions(), nil)
	if err != nil {
		log.Fatalf("opening the storage: %v", err)
	}
	defer db.Close()
	var last int64
	before := map[string]labels.Labels{}
	for _, scrape := range asked.Scrapes {
		if before, err = load(db, scrape.Text, scrape.Time, scrape.Job, before); err != nil {
			log.Fatalf("loading a scrape: %v", err)
		}
		last = scrape.Time
	}
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 10_000_000, Timeout: time.Minute, LookbackDelta: 5 * time.Minute})
	out := json.NewEncoder(os.Stdout)
	for _, query := range asked.Queries {
		if err := out.Encode(evaluate(engine, db, query, time.UnixMilli(last))); err != nil {
			log.Fatal(err)
		}
	}
}

// load stores a scrape and returns its series; those that were there before and aren't any more end, as Prometheus does.
func load(db *tsdb.DB, text string, when int64, job map[string]string, before map[string]labels.Labels) (map[string]labels.Labels, error) {
	there := map[string]labels.Labels{}
	parser := textparse.NewPromParser([]byte(text), labels.NewSymbolTable(), false)
	appender := db.Appender(context.Background())
	for {
		entry, err := parser.Next()
		if err != nil {
			break // io.EOF; what can't be parsed shows as a query without series
		}
		if entry != textparse.EntrySeries {
			continue
		}
		var found labels.Labels
		_, _, sample := parser.Series()
		parser.Labels(&found)
		builder := labels.NewBuilder(found)
		for name, word := range job {
			builder.Set(name, word)
		}
		series := builder.Labels()
		if _, err := appender.Append(0, series, when, sample); err != nil {
			return nil, err
		}
		there[series.String()] = series
	}
	for name, series := range before {
		if _, found := there[name]; found {
			continue
		}
		if _, err := appender.Append(0, series, when, math.Float64frombits(value.StaleNaN)); err != nil {
			return nil, err
		}
	}
	return there, appender.Commit()
}

func evaluate(engine *promql.Engine, db *tsdb.DB, text string, when time.Time) answer {
	result := answer{Query: text, Series: []series{}}
	query, err := engine.NewInstantQuery(context.Background(), db, nil, text, when)
	if err != nil {
		result.Error = err.Error()
		return result
	}
	defer query.Close()
	found := query.Exec(context.Background())
	if found.Err != nil {
		result.Error = found.Err.Error()
		return result
	}
	vector, err := found.Vector()
	if err != nil {
		result.Error = err.Error()
		return result
	}
	for _, sample := range vector {
		if math.IsNaN(sample.F) { // a quantile of nothing: no point on the panel
			continue
		}
		result.Series = append(result.Series, series{sample.Metric.Map(), sample.F})
	}
	return result
}
