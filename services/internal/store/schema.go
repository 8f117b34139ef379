package store

import "context"

// Schema is the version of the data's layout: that of the last step that
// Migrate has done, 0 in a store that it has not seen.
func Schema(ctx context.Context, db DB) (int, error) {
	version, _, err := schemaVersion(ctx, db)
	return version, err
}
