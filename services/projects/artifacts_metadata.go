package projects

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"path"
	"slices"
	"strings"

	"anthill/services/internal/workspace"
)

const (
	metadataFile  = "metadata.json"
	brokenFile    = metadataFile + ".broken" // what it was when it could not be read
	publishedFile = ".published.json"
	metadataMax   = 1 << 20 // bytes

	schemaVersion  = 1
	filesRecorded  = 500
	turnsRecorded  = 200 // of one artifact; older ones are dropped
	summaryMax     = 300 // runes
	touchedOneTurn = 100
)

// metadata is what an artifact's metadata.json says (contract 1.7).
type metadata struct {
	SchemaVersion int            `json:"schemaVersion"`
	ID            string         `json:"id"` // 8 hexadecimal digits
	Slug          string         `json:"slug"`
	CreatedAt     string         `json:"createdAt"`
	UpdatedAt     string         `json:"updatedAt"`
	Name          string         `json:"name"`
	Description   string         `json:"description"`
	Type          string         `json:"type"`
	Primary       string         `json:"primary"`
	Port          int            `json:"port"` // of a backend; 0: none
	Datasources   []datasource   `json:"datasources"`
	Files         []recordedFile `json:"files"`
	Provenance    []provenance   `json:"provenance"`
	URL           string         `json:"-"` // where it is published, from publishedFile

	rest map[string]json.RawMessage // members that are not ours: kept
}

type datasource struct {
	Engine string `json:"engine"`
	Name   string `json:"name"`
}

type recordedFile struct {
	Path       string `json:"path"`
	Bytes      int64  `json:"bytes"`
	ModifiedAt string `json:"modifiedAt"`
}

// provenance is a conversation in which an artifact was worked on.
type provenance struct {
	Conversation string           `json:"conversation"`
	Title        string           `json:"title"`
	Turns        []provenanceTurn `json:"turns"`
}

type provenanceTurn struct {
	Index        int      `json:"index"`
	Timestamp    string   `json:"timestamp"`
	Summary      string   `json:"summary"`
	FilesTouched []string `json:"files_touched"`
}

// members are the fields by their names.
func (m *metadata) members() map[string]any {
	return map[string]any{"schemaVersion": &m.SchemaVersion, "id": &m.ID, "slug": &m.Slug, "createdAt": &m.CreatedAt,
		"updatedAt": &m.UpdatedAt, "name": &m.Name, "description": &m.Description, "type": &m.Type, "primary": &m.Primary,
		"port": &m.Port, "datasources": &m.Datasources, "files": &m.Files, "provenance": &m.Provenance}
}

// readMetadata reads what there is. A member of the wrong type counts as absent,
// and so does a file that is no JSON object: ok is false then.
func readMetadata(f *workspace.Folder, slug string) (m metadata, ok bool, err error) {
	dir := path.Join(artifactsDir, slug)
	data, err := readSmall(f, path.Join(dir, metadataFile))
	if err != nil {
		return m, false, err
	}
	ok = json.Unmarshal(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), &m.rest) == nil && m.rest != nil
	for name, field := range m.members() {
		if raw, has := m.rest[name]; has {
			// An error leaves what was read so far, which may be half a list.
			if err := json.Unmarshal(raw, field); err != nil {
				reset(field)
			}
		}
	}
	if !hexID(m.ID) {
		m.ID = ""
	}
	if data, err = readSmall(f, path.Join(dir, publishedFile)); err != nil {
		return m, ok, err
	}
	m.URL = publishedURL(data, m.Primary)
	return m, ok, nil
}

func reset(field any) {
	switch field := field.(type) {
	case *string:
		*field = ""
	case *int:
		*field = 0
	case *[]datasource:
		*field = nil
	case *[]recordedFile:
		*field = nil
	case *[]provenance:
		*field = nil
	}
}

// readSmall reads a sidecar; one that is absent, too large or no plain file is empty.
func readSmall(f *workspace.Folder, name string) ([]byte, error) {
	data, err := f.ReadFile(name, metadataMax)
	if absentFolder(err) || errors.Is(err, workspace.ErrTooLarge) || errors.Is(err, workspace.ErrIsDir) {
		return nil, nil
	}
	return data, err
}

func hexID(id string) bool {
	b, err := hex.DecodeString(id)
	return err == nil && len(b) == 4
}

// publishedURL is where the primary file is published, else any file.
func publishedURL(data []byte, primary string) string {
	var files map[string]struct {
		URL string `json:"url"`
	}
	if json.Unmarshal(data, &files) != nil {
		return ""
	}
	names := []string{primary}
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names[1:])
	for _, name := range names {
		if url := files[name].URL; strings.HasPrefix(url, "https://") || strings.HasPrefix(url, "http://") {
			return url
		}
	}
	return ""
}

// write stores the metadata, with the members of others as they were.
func (m *metadata) write(f *workspace.Folder, slug string) error {
	all := map[string]any{}
	for name, raw := range m.rest {
		all[name] = raw
	}
	for name, field := range m.members() {
		all[name] = field
	}
	if m.Port == 0 {
		all["port"] = nil
	}
	if m.Primary == "" {
		all["primary"] = nil
	}
	data, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return f.WriteFile(path.Join(artifactsDir, slug, metadataFile), append(data, '\n'))
}

// keepBroken puts metadata that is no JSON object aside, for whoever wrote it.
func keepBroken(f *workspace.Folder, slug string) error {
	name := path.Join(artifactsDir, slug, metadataFile)
	data, err := readSmall(f, name)
	if err != nil || len(data) == 0 {
		return err
	}
	if _, ok, err := readMetadata(f, slug); err != nil || ok {
		return err
	}
	return f.WriteFile(path.Join(artifactsDir, slug, brokenFile), data)
}

// describe fills in what metadata must have.
func (m *metadata) describe(slug, now string) {
	m.SchemaVersion = max(m.SchemaVersion, schemaVersion)
	m.Slug, m.UpdatedAt = slug, now
	if m.ID == "" {
		var b [4]byte
		rand.Read(b[:]) // never fails: it ends the program instead
		m.ID = hex.EncodeToString(b[:])
	}
	if m.CreatedAt == "" {
		m.CreatedAt = now
	}
	if m.Name == "" {
		m.Name = slug
	}
	m.Datasources = orEmpty(m.Datasources)
	m.Files = orEmpty(m.Files)
	m.Provenance = orEmpty(m.Provenance)
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// record notes the files that an artifact has now.
func (m *metadata) record(files []workspace.Entry) {
	m.Files = []recordedFile{}
	for _, e := range files[:min(len(files), filesRecorded)] {
		m.Files = append(m.Files, recordedFile{e.Path, e.Size, iso(e.Modified)})
	}
}

// credit notes that a turn worked on the artifact.
func (m *metadata) credit(t ArtifactTurn, now string, touched []string) {
	turn := provenanceTurn{Index: t.Index, Timestamp: now, Summary: t.Summary, FilesTouched: orEmpty(touched[:min(len(touched), touchedOneTurn)])}
	if runes := []rune(turn.Summary); len(runes) > summaryMax {
		turn.Summary = string(runes[:summaryMax]) + "…"
	}
	at := slices.IndexFunc(m.Provenance, func(p provenance) bool { return p.Conversation == t.Conversation })
	if at < 0 {
		m.Provenance = append(m.Provenance, provenance{Conversation: t.Conversation})
		at = len(m.Provenance) - 1
	}
	p := &m.Provenance[at]
	p.Title = t.Title
	p.Turns = append(slices.DeleteFunc(p.Turns, func(old provenanceTurn) bool { return old.Index == t.Index }), turn)
	m.forget()
}

// forget drops the oldest turns of the oldest conversations.
func (m *metadata) forget() {
	turns := 0
	for _, p := range m.Provenance {
		turns += len(p.Turns)
	}
	for turns > turnsRecorded {
		drop := min(turns-turnsRecorded, len(m.Provenance[0].Turns))
		m.Provenance[0].Turns = m.Provenance[0].Turns[drop:]
		turns -= drop
		if len(m.Provenance[0].Turns) == 0 {
			m.Provenance = m.Provenance[1:]
		}
	}
}
