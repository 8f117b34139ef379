package projects

import (
	"context"
	"errors"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
)

type projectsService struct {
	antonv1.UnimplementedProjectsServiceServer
	room *Room
}

func (s projectsService) ListProjects(ctx context.Context, _ *antonv1.ListProjectsRequest) (*antonv1.ListProjectsResponse, error) {
	list, err := s.room.List(ctx)
	if err != nil {
		return nil, err
	}
	out := &antonv1.ListProjectsResponse{Projects: make([]*antonv1.Project, len(list))}
	for i, p := range list {
		out.Projects[i] = &antonv1.Project{Name: p.Name, Path: p.Path, Id: p.ID}
	}
	return out, nil
}

func (s projectsService) CreateProject(ctx context.Context, q *antonv1.CreateProjectRequest) (*antonv1.ProjectNamed, error) {
	if q.Name == nil {
		return nil, errMissing("name")
	}
	p, err := s.room.create(ctx, *q.Name)
	return named(p, *q.Name, err)
}

func (s projectsService) GetActiveProject(ctx context.Context, _ *antonv1.GetActiveProjectRequest) (*antonv1.ActiveProject, error) {
	p, err := s.room.Active(ctx)
	if err != nil {
		return nil, err
	}
	return &antonv1.ActiveProject{Name: p.Name}, nil
}

func (s projectsService) SetActiveProject(ctx context.Context, q *antonv1.SetActiveProjectRequest) (*antonv1.ActiveProject, error) {
	if q.Name == nil {
		return nil, errMissing("name")
	}
	p, err := s.room.setActive(ctx, *q.Name)
	if err != nil {
		return nil, err
	}
	return &antonv1.ActiveProject{Name: p.Name}, nil
}

func (s projectsService) RenameProject(ctx context.Context, q *antonv1.RenameProjectRequest) (*antonv1.ProjectNamed, error) {
	if q.Name == nil {
		return nil, errMissing("name")
	}
	p, err := s.room.rename(ctx, q.Project, *q.Name)
	return named(p, *q.Name, err)
}

func (s projectsService) DeleteProject(ctx context.Context, q *antonv1.DeleteProjectRequest) (*antonv1.DeleteProjectResponse, error) {
	if err := s.room.remove(ctx, q.Project); err != nil {
		return nil, err
	}
	return &antonv1.DeleteProjectResponse{Status: "deleted", Name: q.Project}, nil
}

// setActive makes a project the active one. If its folder vanished it is made
// again, for an active project without one would not stay active.
func (r *Room) setActive(ctx context.Context, name string) (p Project, err error) {
	if p, err = r.resolveNamed(ctx, name); err != nil {
		return Project{}, err
	}
	f, err := r.Folder(ctx, p.ID)
	if err != nil {
		return Project{}, err
	}
	if err := f.Close(); err != nil {
		return Project{}, err
	}
	id := p.ID
	err = r.update(ctx, func(tx store.Tx) error {
		var ok bool
		var err error
		if p, ok, err = r.LookupID(tx, id); err != nil {
			return err
		}
		if !ok {
			return errNoProject()
		}
		return pointers.Put(tx, &pointer{ID: id})
	})
	return p, err
}

// resolveNamed is Resolve for requests that must name the project, with the
// text that these routes have for a missing one.
func (r *Room) resolveNamed(ctx context.Context, name string) (Project, error) {
	if name == "" {
		return Project{}, errNoProject()
	}
	p, err := r.Resolve(ctx, name)
	if f := (*fault.Error)(nil); errors.As(err, &f) && f.Reason == reasonNoProject {
		return Project{}, errNoProject()
	}
	return p, err
}

func named(p Project, requested string, err error) (*antonv1.ProjectNamed, error) {
	if err != nil {
		return nil, err
	}
	return &antonv1.ProjectNamed{Id: p.ID, Name: p.Name, Path: p.Path,
		Requested: requested, Renamed: p.Name != requested}, nil
}

func errMissing(field string) error { return fault.BadField("missing", "Field required", field) }
