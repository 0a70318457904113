package web

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"bothy/runner/config"
	"bothy/runner/internal/api"
)

const (
	// cookieName is that of the cookie that shows a session.
	cookieName = "bothy_session"
	// sessionTime is how long a session lasts at most, idleTime how long one that
	// nobody uses.
	sessionTime = 30 * 24 * time.Hour
	idleTime    = 7 * 24 * time.Hour
	// maxSessions bounds all sessions, userSessions those of one user. The one
	// that was used longest ago goes first.
	maxSessions  = 4096
	userSessions = 64
)

// Sessions are those of people who have logged in with a password. They end with
// the process. The zero value is ready; methods may be called from many
// goroutines.
type Sessions struct {
	mu   sync.Mutex
	byID map[[sha256.Size]byte]*session
}

type session struct {
	name        string
	hash        string // of the password, as it was then: another password ends the session
	began, used time.Time
}

// Access is acc for those who have logged in, too: as users of c, for as long as
// those are in it.
func (s *Sessions) Access(acc api.Access, c *api.Credentials) Access {
	next := acc.Identify
	acc.Identify = func(r *http.Request) (api.Identity, error) {
		if r.Header.Get("Authorization") == "" {
			if id, ok := s.find(r, c); ok {
				return id, nil
			}
		}
		return next(r)
	}
	a := Access{Access: acc}
	if c.HasUsers() {
		a.Login = func(r *http.Request, name, password string) (string, error) {
			id, err := c.Login(r, name, password)
			if err != nil {
				return "", err
			}
			u, _ := c.User(id.Name)
			return s.begin(u), nil
		}
		a.Logout = s.end
	}
	return a
}

func (s *Sessions) begin(u api.User) string {
	id := rand.Text() + rand.Text() // 256 bits
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID == nil {
		s.byID = map[[sha256.Size]byte]*session{}
	}
	s.makeRoom(u.Name, now)
	s.byID[sha256.Sum256([]byte(id))] = &session{name: u.Name, hash: u.Hash, began: now, used: now}
	return id
}

// makeRoom forgets what has ended, and the sessions that are too many.
func (s *Sessions) makeRoom(name string, now time.Time) {
	for {
		var oldest, oldestOfUser [sha256.Size]byte
		var at, atOfUser time.Time
		ofUser := 0
		for id, o := range s.byID {
			if o.over(now) {
				delete(s.byID, id)
				continue
			}
			if at.IsZero() || o.used.Before(at) {
				oldest, at = id, o.used
			}
			if o.name == name {
				ofUser++
				if atOfUser.IsZero() || o.used.Before(atOfUser) {
					oldestOfUser, atOfUser = id, o.used
				}
			}
		}
		switch {
		case ofUser >= userSessions:
			delete(s.byID, oldestOfUser)
		case len(s.byID) >= maxSessions:
			delete(s.byID, oldest)
		default:
			return
		}
	}
}

func (o *session) over(now time.Time) bool {
	return now.Sub(o.began) >= sessionTime || now.Sub(o.used) >= idleTime
}

// find returns whose session a request shows.
func (s *Sessions) find(r *http.Request, c *api.Credentials) (api.Identity, bool) {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return api.Identity{}, false
	}
	key, now := sha256.Sum256([]byte(cookie.Value)), time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.byID[key]
	if o == nil {
		return api.Identity{}, false
	}
	u, ok := c.User(o.name)
	if !ok || u.Hash != o.hash || o.over(now) {
		delete(s.byID, key)
		return api.Identity{}, false
	}
	o.used = now
	return api.Identity{Name: u.Name, Role: u.Role}, true
}

func (s *Sessions) end(r *http.Request) {
	if cookie, err := r.Cookie(cookieName); err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.byID, sha256.Sum256([]byte(cookie.Value)))
	}
}

// loginPage is what the template "login" shows.
type loginPage struct {
	*call
	Next   string // where to go then, as seen from the root
	User   string
	Failed string // why the last attempt failed
}

func (loginPage) Heading() string { return "Log in" }

// anybody is the access of those who are not known yet: hosts and origins count
// for them, too.
func anybody(acc *Access) *Access {
	a := *acc
	a.Identify = func(*http.Request) (api.Identity, error) { return api.Identity{Role: config.Viewer}, nil }
	return &a
}

func (s *Web) getLogin(w http.ResponseWriter, r *http.Request, acc *Access) {
	c := s.call(w, r, acc, nil)
	if _, err := anybody(acc).Check(r, s.Config()); err != nil {
		c.fail(err)
		return
	}
	if acc.Login == nil {
		c.fail(notFound("there is nothing to log in with here"))
		return
	}
	c.show(http.StatusOK, "login", loginPage{call: c, Next: within(r.URL.Query().Get("next"))})
}

// within is an address below the root, "" for any other: whoever makes a link to
// the login must not choose another site to go to.
func within(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.IsAbs() || u.Host != "" || u.Opaque != "" || strings.HasPrefix(next, "/") ||
		strings.ContainsAny(next, "\\\r\n") || strings.Contains(u.Path, "..") {
		return ""
	}
	return next
}

// maxLogin bounds the form of a login, in bytes.
const maxLogin = 8 << 10

func (s *Web) postLogin(w http.ResponseWriter, r *http.Request, acc *Access) {
	c := s.call(w, r, acc, nil)
	if _, err := anybody(acc).Check(r, s.Config()); err != nil {
		c.fail(err)
		return
	}
	if acc.Login == nil {
		c.fail(notFound("there is nothing to log in with here"))
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxLogin)
	if err := r.ParseForm(); err != nil {
		c.fail(badRequest("the form cannot be read: %v", err))
		return
	}
	f := r.PostForm
	id, err := acc.Login(r, f.Get("user"), f.Get("password"))
	if err != nil {
		status, text, wait := statusOf(err)
		if status >= http.StatusInternalServerError {
			c.fail(err)
			return
		}
		if errors.Is(err, api.ErrNoCredentials) {
			text = "wrong name or password"
		}
		if wait > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
		}
		c.show(status, "login", loginPage{call: c, Next: within(f.Get("next")), User: f.Get("user"), Failed: text})
		return
	}
	if acc.Logout != nil {
		acc.Logout(r) // the session before, which the browser forgets now
		s.listeners.forget(r)
	}
	s.log.Info("login", "user", f.Get("user"), "from", r.RemoteAddr)
	http.SetCookie(w, s.cookie(r, id, int(sessionTime/time.Second)))
	c.redirect("./" + within(f.Get("next")))
}

func (s *Web) postLogout(w http.ResponseWriter, r *http.Request, acc *Access) {
	c := s.call(w, r, acc, nil)
	if _, err := anybody(acc).Check(r, s.Config()); err != nil {
		c.fail(err)
		return
	}
	if acc.Logout != nil {
		acc.Logout(r)
		s.listeners.forget(r)
	}
	http.SetCookie(w, s.cookie(r, "", -1))
	c.redirect("./")
}

// cookie shows a session to what lies beside /login: without a path it is for
// the prefix that the page is mounted below, whatever that is.
func (s *Web) cookie(r *http.Request, value string, age int) *http.Cookie {
	u, err := url.Parse(s.Config().URL)
	behindTLS := err == nil && u.Scheme == "https" && strings.EqualFold(u.Host, r.Host)
	return &http.Cookie{
		Name: cookieName, Value: value, MaxAge: age, HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: r.TLS != nil || behindTLS,
	}
}
