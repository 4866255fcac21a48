-- $1 least = 0
select n, n * 100 as cents from generate_series(1, 3) as n where n >= $1::int
