package store

import "sync"

// locks are one lock for each name, there while somebody has or awaits it.
type locks struct {
	mu    sync.Mutex
	inUse map[string]*lock
}

type lock struct {
	sync.Mutex
	users int // guarded by locks.mu
}

func (l *locks) lock(name string) (unlock func()) {
	l.mu.Lock()
	own := l.use(name)
	l.mu.Unlock()
	own.Lock()
	return l.unlocking(name, own)
}

func (l *locks) tryLock(name string) (unlock func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inUse[name] != nil {
		return nil
	}
	own := l.use(name)
	own.Lock() // nobody else knows it yet
	return l.unlocking(name, own)
}

// use returns the lock with one user more; the caller holds mu.
func (l *locks) use(name string) *lock {
	own := l.inUse[name]
	if own == nil {
		own = &lock{}
		if l.inUse == nil {
			l.inUse = map[string]*lock{}
		}
		l.inUse[name] = own
	}
	own.users++
	return own
}

func (l *locks) unlocking(name string, own *lock) (unlock func()) {
	return func() {
		own.Unlock()
		l.mu.Lock()
		defer l.mu.Unlock()
		if own.users--; own.users == 0 {
			delete(l.inUse, name)
		}
	}
}
