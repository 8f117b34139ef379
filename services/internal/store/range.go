package store

import (
	"bytes"
	"context"
)

// rangeBatch keeps a removal's transactions well under the limits.
const rangeBatch = 50

// DeleteRange removes what is in a range, in as many transactions as it takes. It
// is not one: after an error, or a crash, a part is gone, and calling it again
// removes the rest.
func DeleteRange(ctx context.Context, db DB, rg Range) error {
	for {
		n := 0
		err := db.Update(ctx, func(tx Tx) error {
			var doomed [][]byte
			for k := range tx.Scan(rg) {
				doomed = append(doomed, bytes.Clone(k))
				if len(doomed) == rangeBatch {
					break
				}
			}
			for _, k := range doomed {
				tx.Delete(k)
			}
			n = len(doomed)
			return nil
		})
		if err != nil || n < rangeBatch {
			return err
		}
	}
}
