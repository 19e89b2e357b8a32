-- The models' figures in the report, computed again from the published predictions: open data/analytics.duckdb with
-- DuckDB and paste. Each query shows the figure beside the one in the tables; tests/test_recompute.py runs them all. Another
-- coverage than .5, or the claims of a series (male, coverage), is the same query with another number or column.
-- Intervals (…_low, …_high) need draws of groups: vps_ml/evaluation/resampling.py.

-- name: a model's row in evaluation_reports (segment all)
with errors as (
    select model_id, listing_id, qualification, qualified as taken, predicted_log_price - log_price as error,
        log_price between low_log_price and high_log_price as in_range, high_log_price - low_log_price as width
    from evaluation_predictions
), ranked as (
    select *, avg(abs(error)) over (partition by model_id order by qualification desc, listing_id
        rows unbounded preceding) as risk
    from errors
)
select model_id, r.coverage as published_coverage, avg(taken::int) as coverage,
    r.male as published_male, avg(abs(error)) filter (taken) as male,
    r.rmsle as published_rmsle, sqrt(avg(error * error) filter (taken)) as rmsle,
    r.male_of_all as published_male_of_all, avg(abs(error)) as male_of_all,
    r.aurc as published_aurc, avg(case when r.aurc is not null then risk end) as aurc,
    r.range_coverage as published_range_coverage, avg(in_range::int) filter (taken) as range_coverage,
    r.range_width as published_range_width, avg(width) filter (taken) as range_width
from ranked join evaluation_reports r using (model_id) where r.segment = 'all' group by all;

-- name: the same of a category
select model_id, segment, r.tested as published_tested, count(*) as tested,
    r.male as published_male, avg(abs(predicted_log_price - p.log_price)) filter (p.qualified) as male
from evaluation_predictions p join clean_listings using (listing_id)
join evaluation_reports r using (model_id) where r.segment = category group by all;

-- name: the error over all landed test prices, with those that cleaning took out
with every as (
    select model_id, abs(predicted_log_price - log_price) as error from evaluation_predictions
    union all select model_id, abs(predicted_log_price - log_price) from out_of_bounds_predictions
)
select model_id, male_of_landed as published_male_of_landed, avg(error) as male_of_landed
from every join evaluation_reports using (model_id) where segment = 'all' group by all;

-- name: a difference in model_comparisons, by MALE of all
with male as (
    select model_id, avg(abs(predicted_log_price - log_price)) as male from evaluation_predictions group by model_id
)
select claim, split_kind, difference as published_difference,
    (select avg(male) from male where list_contains(model_ids, model_id))
    - (select avg(male) from male where list_contains(against_ids, model_id)) as difference
from model_comparisons where metric = 'male_of_all';

-- name: a difference in model_comparisons, by AURC
with ranked as (
    select model_id, avg(abs(predicted_log_price - log_price)) over (partition by model_id
        order by qualification desc, listing_id rows unbounded preceding) as risk
    from evaluation_predictions
), aurc as (select model_id, avg(risk) as aurc from ranked group by model_id)
select claim, split_kind, difference as published_difference,
    (select avg(aurc) from aurc where list_contains(model_ids, model_id))
    - (select avg(aurc) from aurc where list_contains(against_ids, model_id)) as difference
from model_comparisons where metric = 'aurc';

-- name: a difference in model_comparisons, at equal coverage (the last listing counts with the part that is needed)
with ranked as (
    select model_id, abs(predicted_log_price - log_price) as error, count(*) over (partition by model_id) as items,
        row_number() over (partition by model_id order by qualification desc, listing_id) as place
    from evaluation_predictions
), at_half as (
    select model_id, sum(error * least(greatest(0.5 * items - (place - 1), 0), 1)) / any_value(0.5 * items) as male
    from ranked group by model_id
)
select claim, split_kind, difference as published_difference,
    (select avg(male) from at_half where list_contains(model_ids, model_id))
    - (select avg(male) from at_half where list_contains(against_ids, model_id)) as difference
from model_comparisons where metric = 'male_at_0.5';

-- name: the headline: the model in force, on the rows that it was judged on
select c.model_id, coalesce(c.served_as, c.model_id) as prices_as, r.coverage as published_coverage,
    avg(p.qualified::int) as coverage, r.male as published_male,
    avg(abs(predicted_log_price - log_price)) filter (p.qualified) as male,
    exp(avg(abs(predicted_log_price - log_price)) filter (p.qualified)) as typical_factor
from (from champion_model where inputs = 'photo') c
join evaluation_reports r on r.model_id = c.model_id and r.segment = 'all'
join evaluation_predictions p on p.model_id = c.model_id group by all;

-- name: how many sold within their range as first calibrated, by listing day
-- As the range followed the market: replayed by vps_ml/evaluation/adaptation.py; the headline has the sum of its days.
select a.as_of, a.tested as published_tested, count(*) as tested, a.covered_static as published_covered_static,
    sum((p.log_price between low_log_price and high_log_price)::int)::bigint as covered_static,
    sum(any_value(a.covered)) over () / sum(any_value(a.tested)) over () as share_of_the_headline
from (from champion_model where inputs = 'photo') c
join evaluation_predictions p on p.model_id = c.model_id and p.qualified
join clean_listings using (listing_id)
join range_adaptation a on a.model_id = c.model_id and a.as_of = listed_on and a.segment = 'all' group by all;

-- name: a model's row in words_reports (segment all)
with ranked as (
    select model_id, qualified as taken, predicted_log_price - log_price as error, avg(abs(predicted_log_price - log_price))
        over (partition by model_id order by qualification desc, listing_id rows unbounded preceding) as risk
    from evaluation_predictions
)
select model_id, r.male as published_male, avg(abs(error)) filter (taken) as male,
    r.male_of_all as published_male_of_all, avg(abs(error)) as male_of_all, r.aurc as published_aurc, avg(risk) as aurc
from ranked join words_reports r using (model_id) where r.segment = 'all' group by all;

-- name: a model's row in ablation_reports (segment all)
with ranked as (
    select model_id, qualified as taken, predicted_log_price - log_price as error, avg(abs(predicted_log_price - log_price))
        over (partition by model_id order by qualification desc, listing_id rows unbounded preceding) as risk
    from evaluation_predictions
)
select ablation, model_id, r.male as published_male, avg(abs(error)) filter (taken) as male,
    r.male_of_all as published_male_of_all, avg(abs(error)) as male_of_all,
    r.aurc as published_aurc, avg(case when r.aurc is not null then risk end) as aurc
from ranked join ablation_reports r using (model_id) where r.segment = 'all' group by all;
