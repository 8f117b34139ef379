package rest

import (
	"errors"
	"io"
	"mime/multipart"
)

// NextPart is nil at the end of a form. A form that breaks off has none, and is an error.
func NextPart(form *multipart.Reader) (*multipart.Part, error) {
	part, err := form.NextPart()
	switch {
	case err == io.EOF: //nolint:errorlint // wrapped, it means that the form was cut off
		return nil, nil
	case errors.Is(err, io.EOF):
		return nil, errFormCut
	case err != nil:
		return nil, err
	}
	return part, nil
}

var errFormCut = errors.New("rest: the form is cut off")
