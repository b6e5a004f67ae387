-- Is there a superuser? Whoever comes to the first page asks that.
CREATE INDEX users_superusers ON users (subject) WHERE superuser = 1;
