-- Who starts reads the applications that are not deleted, page by page, and walks over no others.
CREATE INDEX applications_living ON applications (client_id) WHERE deleted = 0;
