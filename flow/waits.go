package flow

import (
	"slices"
	"time"
)

// suspend has the scope wait for approvals of a step. It reports whether it
// has to.
func (m *machine) suspend(i int) (bool, error) {
	mod, ms := m.mods[i], &m.st.Modules[i]
	if ms.Job == "" {
		m.st.Resumes = nil // it has run at once: what is there is for an earlier step
	}
	w := &Wait{Index: i, Job: ms.Job, Required: mod.Suspend.Required}
	if mod.Suspend.Timeout > 0 {
		w.Until = m.in.Now.Add(mod.Suspend.Timeout)
	}
	m.st.Wait, m.out.WakeAt = w, w.Until
	return m.approved()
}

// approved looks whether what the scope waits for has come; it reports whether
// it goes on waiting or has ended. If it was about to wait when it was enough,
// the caller goes on to the next module.
func (m *machine) approved() (waits bool, err error) {
	w := m.st.Wait
	if k := slices.IndexFunc(m.st.Resumes, func(r Resume) bool { return r.Refused }); k >= 0 {
		who := m.st.Resumes[k].Approver
		if who == "" {
			who = "somebody"
		}
		return m.denied("Disapproved", "step %s was disapproved by %s", m.mods[w.Index].ID, who)
	}
	if len(m.st.Resumes) < w.Required {
		return true, nil
	}
	ms := &m.st.Modules[w.Index]
	for _, r := range m.st.Resumes {
		ms.ApprovedBy = append(ms.ApprovedBy, r.Approver)
	}
	m.st.Wait, m.out.WakeAt = nil, time.Time{}
	return false, nil
}

// denied ends the wait without the approvals. It reports whether the scope has
// ended by that.
func (m *machine) denied(name, format string, args ...any) (bool, error) {
	i := m.st.Wait.Index
	m.st.Wait, m.out.WakeAt = nil, time.Time{}
	if m.mods[i].Suspend.GoOn {
		m.st.Resumes = slices.DeleteFunc(m.st.Resumes, func(r Resume) bool { return r.Refused })
		return false, nil
	}
	f, _ := failed(name, format, args...).(*failure) //nolint:errorlint // made here
	return true, m.failScope(i, Cause{Step: m.mods[i].ID, Value: f.value()})
}

// proceed goes on after a wait.
func (m *machine) proceed(i int) error {
	m.out.Vars.Resumes = m.st.Resumes
	if err := m.rest(i); err != nil {
		return m.fail(i, Cause{}, err)
	}
	return m.begin(i + 1)
}

// timer ends a wait whose time is up.
func (m *machine) timer() error {
	w := m.st.Wait
	if w == nil || w.Until.IsZero() || m.in.Now.Before(w.Until) {
		if w != nil {
			m.out.WakeAt = w.Until
		}
		return nil
	}
	i := w.Index
	ended, err := m.denied("SuspendTimeout", "step %s was not approved in time: %d of %d approvals had come", m.mods[i].ID, len(m.st.Resumes), w.Required)
	if ended || err != nil {
		return err
	}
	return m.proceed(i)
}

// resume takes an approval or its refusal. One that comes while the step still
// runs counts when it has ended; one for another step counts nowhere.
func (m *machine) resume(e *Event) error {
	if e.Resume == nil || slices.ContainsFunc(m.st.Resumes, func(r Resume) bool { return r.ID == e.Resume.ID }) {
		m.keepWaking()
		return nil
	}
	r := *e.Resume
	r.Refused = e.Kind == Refused
	w := m.st.Wait
	if w == nil {
		if i := m.st.Step; i < len(m.mods) && m.mods[i].Suspend != nil && m.st.Error == nil && (e.Step == "" || e.Step == m.mods[i].ID) {
			m.st.Resumes = append(m.st.Resumes, r)
		}
		return nil
	}
	if e.Job != "" && w.Job != "" && e.Job != w.Job || e.Step != "" && e.Step != m.mods[w.Index].ID {
		m.keepWaking()
		return nil
	}
	m.st.Resumes = append(m.st.Resumes, r)
	m.out.Vars.Resumes = m.st.Resumes
	m.out.WakeAt = w.Until
	i := w.Index
	waits, err := m.approved()
	if waits || err != nil {
		return err
	}
	return m.proceed(i)
}

// keepWaking asks for the timer of a wait again.
func (m *machine) keepWaking() {
	if w := m.st.Wait; w != nil {
		m.out.WakeAt = w.Until
	}
}
