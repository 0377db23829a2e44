-- Whose keys one user must fetch anew, since nobody else sees what changed.
CREATE TABLE keys_for (
    viewer INTEGER NOT NULL,
    who INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (viewer, who)
) WITHOUT ROWID;
