package ant

import (
	"encoding/json"
	"net/http"
	"strconv"

	antv1 "anthill/gen/ant/v1"
)

var tasks = resource{
	services: []generated{service(antv1.NewTasksServiceClient, antv1.RegisterTasksServiceHandlerClient)},
	status:   map[string]int{antv1.TasksService_CreateTask_FullMethodName: http.StatusCreated},
	beside: map[string]func(map[string]string) object{
		"TASK_AMBIGUOUS": func(meta map[string]string) object { return object{"matches": json.RawMessage(meta["matches"])} },
		"TASK_CLAIMED":   holder,
		"CLAIM_LOST":     holder,
	},
}

// holder says who holds a task, with the keys of its row.
func holder(meta map[string]string) object {
	claim, err := strconv.Atoi(meta["claim"])
	if err != nil {
		claim = 0 // nobody has claimed it
	}
	return object{"claimed_by": orNil(meta["claimed_by"]), "claimed_until": orNil(meta["claimed_until"]), "claim": claim}
}

type taskEvent struct {
	inRoom
	Task json.RawMessage `json:"task"`
}

// taskRow is a task as REST answers it.
func taskRow(t *antv1.Task) json.RawMessage {
	b, err := marshaler.Marshal(t)
	if err != nil {
		return nil // only text that is not UTF-8, which is not stored
	}
	return b
}
