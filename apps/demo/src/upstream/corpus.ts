/**
 * A text of our own about what the service's models are asked: databases and SQL, vector search, data analysis, and
 * general questions. The model always learns from it, so that its answers have substance without any other document.
 */
export const BUILT_IN_CORPUS = `
# Databases and SQL

## Index

An index is a sorted copy of some columns that lets the database find rows without reading the whole table. A query that filters on an indexed column reads a few pages instead of millions. Every index also costs something: each insert, update and delete must keep it in order.

A composite index is sorted by its first column, then by its second column, and so on. A query can use the index when it filters on the first column, but not when it filters on the second column alone. Put the columns that are compared for equality first, and the column that is compared for a range last.

An index on a column with few different values is rarely worth its cost. The planner reads the whole table when a query needs more than a small share of the rows. A partial index covers only the rows that match a condition, which keeps the index small and fast.

Create an index concurrently when the table is in use, because a plain build blocks every write until it is done. Check afterwards that the index is valid. Drop an index that no query uses.

## Query plans and slow queries

A slow query is best understood from its plan. The database shows the plan with EXPLAIN, and EXPLAIN ANALYZE also runs the query and shows the real times. Look for the step where the estimated number of rows and the actual number of rows are far apart.

A sequential scan is not always a problem. When a query needs most of the rows, reading the table in order is the fastest way. When a query needs a few rows, a sequential scan means that an index is missing or that the planner cannot use it.

The planner chooses a plan from statistics about the table. Old statistics lead to bad plans, so run ANALYZE after a large load. A function around a column hides the column from its index, unless the index is built on the same function.

A join combines rows from two tables by a condition. A nested loop join is fast when one side is small and the other side has an index. A hash join builds a table in memory from the smaller side and reads the larger side once. A merge join needs both sides in the same order.

A left join keeps every row of the left table, with nulls where the right table has no match. An inner join keeps only the rows that match on both sides. A condition in the WHERE clause on the right table turns a left join into an inner join.

## SQL

SQL describes the rows that you want and leaves it to the database how to find them. A SELECT statement names the columns, the tables, the conditions and the order of the result. GROUP BY collects the rows that share a value, and an aggregate such as count or sum turns each group into one row.

Use a parameter for every value in a query, and never build a query from the text of a user. A parameter is sent apart from the statement, so that it can never be read as a part of it. That is the only sure defence against SQL injection.

A window function computes a value over the rows around the current row without joining them into one. Use it for running totals, for ranks and for the difference to the previous row. The PARTITION BY clause starts the computation again for each group.

To find the ten newest orders of each customer, number the orders of each customer by date with a window function and keep the rows whose number is at most ten. To find the customers without orders, use NOT EXISTS with a query for the orders of the customer. A lateral join is faster when there are few customers and an index on the date.

A common table expression gives a name to a part of a query. It makes a long query easier to read, because each step has a name. A recursive common table expression walks a tree, such as a chain of managers or a list of parts.

Count the rows of a table with count(*), and the different values of a column with count(distinct column). The sum of no rows is null, not zero. Use coalesce to turn a null into a value.

## Transactions and locks

A transaction is a group of statements that take effect together or not at all. Other sessions see its changes only after the commit. When a statement fails, the database rolls back the whole transaction and the data is as it was before.

The isolation level decides what a transaction can see of others. Read committed sees every change that was committed before the statement began. Repeatable read sees the data as it was when the transaction began. Serializable behaves as if the transactions had run one after the other, and may ask you to try again.

A deadlock happens when two transactions each wait for a lock that the other one holds. The database ends one of them with an error, and the application should try it again. Take locks in the same order everywhere and deadlocks become rare.

Keep a transaction short. A long transaction holds its locks, keeps old versions of rows alive and blocks the cleaning of the table. Never wait for a user or for another service inside a transaction.

## Connections and pools

A connection pool keeps a number of connections open and lends them to the requests that need one. Opening a connection costs several round trips and a process on the server, so reuse is much faster than a new connection per request. The pool also limits the load on the database, because no more queries run than there are connections.

A pool that is too small makes requests wait for a connection. A pool that is too large makes the database slower, because the queries compete for its processors and its disks. Start with a small multiple of the number of cores, measure the wait time, and change one thing at a time.

Return a connection to the pool as soon as the work is done. A connection that is never returned is a leak, and a leak in one request handler empties the whole pool in time. Close connections after a maximum lifetime so that the load spreads over new servers.

When requests wait long for a connection, look first for slow queries and long transactions. A larger pool only helps when the database has capacity to spare. The number of connections in use is the arrival rate multiplied by the time that each request holds a connection.

## Schema design

A primary key identifies a row and never changes. A foreign key says that a value in one table must exist in another table, and the database keeps that promise for you. Constraints in the schema are worth more than checks in the code, because every writer must obey them.

Normal form means that every fact is stored once. A fact that is stored twice will differ one day. Store a copy only when you have measured that the join is too slow, and say which copy is the truth.

Change a large table in small steps. Add the new column without a default, fill it in batches, and then add the constraint. Deploy the code that can read both forms before the change, and remove the old form after it.

Partition a table when old rows are dropped by date, or when the table is far larger than the memory. Each query should name the partition key, or else it reads every partition. Dropping a partition is instant, while deleting its rows is slow.

## Replication and backup

A replica follows the primary by reading its log of changes. Reads from a replica may be a little old, so a user may not see what he has just written. Send a read to the primary when it must see the latest write.

A backup that was never restored is only a hope. Restore it to another server on a schedule and check the data. Keep the log of changes as well, so that you can go back to the minute before a mistake.

# Vector search and embeddings

## Embeddings

An embedding is a list of numbers that stands for a text, so that similar texts have similar lists. The distance between two embeddings says how far apart the texts are. Most systems use the cosine of the angle between them, because the length of an embedding says little.

Use the same model for the documents and for the queries. Embeddings from two different models cannot be compared. When the model changes, every document must be embedded again.

Split long documents into passages before you embed them. A passage should hold one idea and some of its context, such as the title of the document. Passages that are too long blur several ideas into one embedding, and passages that are too short lose their meaning.

An embedding depends only on the text and on the model, so it is an ideal value for a cache. The same text gives the same embedding every time. A cache of embeddings saves both time and money when documents are indexed again.

## Nearest neighbours

Vector search finds the embeddings that are nearest to the embedding of a query. An exact search compares the query with every vector, and it is fast enough for some hundred thousand of them. An approximate search visits only a small part of the vectors and finds almost all of the nearest ones.

An HNSW index is a graph in which each vector is linked to its neighbours. A search starts at the top layer, walks to nearer and nearer vectors, and then goes down a layer. More links and a wider search give better recall, but use more memory and more time.

An IVF index divides the vectors into clusters and searches only the clusters nearest to the query. It is smaller than a graph and quicker to build. The number of clusters that are searched decides between speed and recall.

Recall is the share of the true nearest neighbours that the search has found. Measure recall on your own data with an exact search as the reference. A fast index with poor recall returns wrong answers quickly.

Quantization stores each number of a vector in fewer bits. It saves memory and makes the search faster, and it costs a little recall. Search with the short vectors first and then compare the best candidates with the full vectors.

## Retrieval

Hybrid search combines the search by words with the search by vectors. Words are better for names, numbers and codes, while vectors are better for questions in other words. Reciprocal rank fusion joins the two lists without tuning their scores.

A retrieval system gives a language model the passages that are most similar to the question. The model can then answer from the passages instead of from memory. Show the sources with the answer, so that a reader can check them.

Filter by tenant, language and date before the search, and not after it. A filter after the search may leave no result at all. An index that knows the filter keeps its recall and its speed.

# Data analysis

## First steps

Begin an analysis with the question, and not with the data. Write down what would change if the answer were yes. Then look at the data: how many rows there are, what is missing, and which values are impossible.

Missing values are rarely missing by chance. Find out why they are missing before you fill them. Leaving out the rows with missing values can change the result more than any model.

Plot the data before you compute anything from it. A plot shows outliers, gaps and changes over time that an average hides. A good chart answers one question and names its units.

Clean data in code, never by hand, so that the work can be done again. Keep the original data as it came. Write each step as a small function with a test.

## Averages and percentiles

The average of a skewed distribution describes nobody. Use the median for the typical value and a high percentile for the worst that users often see. Latency is always skewed, so a mean latency hides the slow requests.

Percentiles cannot be averaged. To join the percentiles of several servers, join their histograms and compute the percentile from the sum. A histogram with buckets of growing width keeps the relative error small.

The standard deviation says how far the values are spread around the mean. For data with long tails it says little. Report the range between two percentiles instead, because it is easier to understand.

## Trends and forecasts

A trend is a slow change that lasts longer than the noise. Compare a week with the same week of the last year when the data has seasons. A moving average shows the trend, but it follows a change only after a while.

A forecast without a range is a guess. Give the range and say how often the past values would have been inside it. A simple forecast, such as the value of last week, is the reference that every model must beat.

An anomaly is a value that the usual variation does not explain. Decide how many false alarms you can bear before you set the limit. Look at the values around the anomaly, because the cause is often older than the alarm.

## Experiments

An experiment compares two groups that differ in one thing only. Assign users to the groups at random, and decide before the start how long it will run. Stopping as soon as the difference looks good leads to false results.

Correlation does not prove a cause. Two values may rise together because a third one drives both. Only an experiment, or a very careful comparison, can tell the difference.

The size of an effect matters more than its significance. With enough data the smallest difference becomes significant. Report the effect with its confidence interval and say whether it is large enough to act on.

A regression estimates how a result changes with each of several causes. Check the residuals for a pattern, because a pattern means that the model is missing something. A model with fewer variables is easier to explain and often predicts as well.

# Services in production

## Caches

A cache keeps the results of expensive work near to where they are needed. The hit rate is the share of requests that the cache has answered. A cache with a high hit rate on cheap work may save less than one with a low hit rate on expensive work.

Every cached value needs a time to live. A short time to live keeps values fresh, and a long time to live keeps the hit rate high. Choose it from how often the value changes and from how much a stale value would hurt.

An LRU cache evicts the entry that was used least recently when it is full. Bound a cache by bytes as well as by entries, because entries differ in size. When many requests miss the same key at once, let one of them compute the value and let the others wait for it.

The key of a cache must hold everything that changes the answer. Leave out the tenant and one customer will read the answers of another. Change the key when the format of the value changes.

## Timeouts and retries

Every call to another service needs a timeout. Without a timeout, one slow service makes all of its callers slow. Pass the deadline on, so that nobody works on a request that its caller has given up.

Retry only what is safe to repeat. Wait longer after each attempt, and add some randomness so that clients do not come back together. When a server says how long to wait, do as it says.

A queue in front of a busy server smooths short peaks. A queue that is always full only adds waiting time. Refuse work early when it cannot be done in time, because a quick refusal is better than a slow failure.

Cancel the work when the client has left. A cancelled request should free its connection, its slot and its memory at once. The work that nobody waits for is the first thing to stop under load.

## Logs and metrics

A log line should say what happened, to whom, and how long it took. Write logs as structured fields, so that they can be searched. Never write passwords, tokens or personal data to a log.

A metric counts what happens often, and a log explains what happens once. Use counters for events, gauges for levels and histograms for durations. Alert on what users feel, such as errors and latency, and not on the causes that may be harmless.

A trace follows one request through all services. Each step records when it began and when it ended. The longest step on the path is where the time went.

## Releases

A service is ready when it can answer requests, and alive when it is worth keeping. On shutdown it should stop being ready, finish the requests in flight, and then close its pools. A deadline makes sure that it ends at all.

Release small changes often. A small change is easy to understand, and it is easy to take back. Roll out to a few servers first and watch the errors before you go on.

# General questions

## Language models

A language model predicts the next word from the words before it. It learns from a large text how often one word follows others. The temperature decides how far it may stray from the most likely word.

This model is a small n-gram model that was trained on the documents of this project when the service was started. It knows only the words in those documents and the order in which they stand. It is here so that the service can be tried without a download, and its answers are not to be trusted.

A token is a piece of text, such as a word or a mark of punctuation. The price and the speed of a model are counted in tokens. A long prompt costs time before the first token, and a long answer costs time for every token.

A stop sequence ends the answer where it appears. The seed makes the answer repeatable: the same prompt and the same seed give the same text. The limit on tokens keeps an answer from becoming too long.

## Greetings and help

Hello, and welcome to the service. You can ask about databases, vector search, data analysis and the work of running a service. Ask one question at a time, and name the thing that you want to know.

Thank you for the question. A good question says what you have tried and what you expected to see. A short example often says more than a long description.

I can help with questions about SQL, indexes, connection pools, caches and metrics. I cannot look at your data or run a query. For a real model, point the service to another server.

## Writing software

Simple code is easier to change than clever code. Give each part one task and a name that says what it does. Delete the code that nobody uses.

A test should fail when the behaviour is wrong and pass when it is right. Test the behaviour and not the way it is written. A bug that has been found deserves a test with its name.

Measure before you make a program faster. The slow part is seldom where you expect it. Keep the change only if the numbers say that it helped.

A computer program is a list of instructions that a computer follows. A programming language lets people write the instructions in words and symbols. A compiler turns the words into the simple steps that the machine can do.
`;
