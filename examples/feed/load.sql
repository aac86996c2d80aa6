-- 10,000 posts: 100 for each of the feeds 0 to 99, by some of 80 authors, who wrote several each; two of three have an image.
insert into posts (id, feed_of, author_id, title, media_id, created_at)
select n,
       n % 100,
       1 + 112 * (n / 100) * (n / 100) % 907 % 80,
       'Post ' || n,
       case when n % 3 > 0 then n end,
       timestamptz '2026-01-01 00:00:00+00' + n * interval '1 minute'
from generate_series(1, 10000) as n;
analyze posts;
