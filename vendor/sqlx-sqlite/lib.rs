//! Why this is empty: see ARCHITECTURE.md, "Decisions" (sqlx beside rusqlite).
