// Package auth makes and checks what people and programs prove themselves with:
// passwords, kept as argon2id or bcrypt hashes, and random tokens, kept as their
// SHA-256. Who may do what is decided elsewhere.
package auth
