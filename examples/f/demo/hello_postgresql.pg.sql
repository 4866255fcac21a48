-- $1 name = world
SELECT 'Hello, ' || $1::text || '!' AS greeting, now() AS at;
