-- An account at this moment: is it tried, from where, and is that new?
CREATE FEATURES account AS
SELECT account,
       COUNT(*)                FILTER (WHERE ts > NOW() - INTERVAL '10 minutes' AND NOT ok) AS failed_10m,
       COUNT(*)                FILTER (WHERE ts > NOW() - INTERVAL '1 day' AND NOT ok)      AS failed_1d,
       COUNT(DISTINCT device)  FILTER (WHERE ts > NOW() - INTERVAL '1 hour')                AS devices_1h,
       COUNT(DISTINCT device)                                                               AS devices,
       COUNT(DISTINCT country) FILTER (WHERE ts > NOW() - INTERVAL '1 day')                 AS countries_1d,
       COUNT(*)                                                                             AS logins,
       failed_10m * 1.0 / NULLIF(failed_1d, 0)                                              AS failed_now
FROM logins
GROUP BY account;

-- An address: does it try many accounts?
CREATE FEATURES address AS
SELECT ip,
       COUNT(*)                FILTER (WHERE ts > NOW() - INTERVAL '10 minutes' AND NOT ok) AS failed_10m,
       COUNT(DISTINCT account) FILTER (WHERE ts > NOW() - INTERVAL '10 minutes')            AS accounts_10m,
       COUNT(DISTINCT account) FILTER (WHERE ts > NOW() - INTERVAL '1 day')                 AS accounts_1d
FROM logins
GROUP BY ip;

-- What an account does in one go: logins less than half an hour apart.
CREATE FEATURES visit AS
SELECT account,
       COUNT(*)                         AS logins,
       COUNT(*) FILTER (WHERE NOT ok)   AS failed,
       COUNT(DISTINCT device)           AS devices,
       COUNT(DISTINCT country)          AS countries,
       LAST(country)                    AS country
FROM logins
GROUP BY account, SESSION(ts, INTERVAL '30 minutes');
