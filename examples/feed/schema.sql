-- What the feed reads.
create table posts (
    id         bigint primary key,
    feed_of    bigint not null,
    author_id  integer not null,
    title      text not null,
    media_id   integer,
    created_at timestamptz not null
);
create index posts_by_feed on posts (feed_of, id desc);
