package sessions

import (
	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/feed"
	"anthill/services/internal/store"
)

// emit appends an event of a session ("" for none in particular) in the
// transaction of what it tells of.
func (r *Room) emit(tx store.Tx, id string, e *antv1.Event) error {
	e.AtMs, e.SessionId = float64(r.opt.Now().UnixMilli()), id
	return feed.Append(tx, e)
}

// listChanged tells that the list is to be read anew, and which sessions are no
// longer in it.
func (r *Room) listChanged(tx store.Tx, removed ...string) error {
	return r.emit(tx, "", &antv1.Event{Event: &antv1.Event_SessionsChanged{
		SessionsChanged: &antv1.SessionsChanged{RemovedIds: removed}}})
}

// deleted tells those who follow a session that it is no more.
func (r *Room) deleted(tx store.Tx, id string, hard bool) error {
	return r.emit(tx, id, &antv1.Event{Event: &antv1.Event_SessionDeleted{
		SessionDeleted: &antv1.SessionDeleted{Hard: hard}}})
}
