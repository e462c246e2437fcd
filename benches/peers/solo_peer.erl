%% What the experiments of solo-bench cost in an Erlang VM. Started by solo-bench as
%% `erl -noshell -run solo_peer main EXPERIMENT SCALE LEVELS`; writes `value NAME NUMBER...` in seconds
%% or bytes, `note TEXT`, and `end`.
%%
%% Servers are `gen_server`s, supervisors are OTP's; messages have 64 bytes. Crash reports are off, as
%% formatting them would be most of a restart.
-module(solo_peer).
-behaviour(gen_server).
-export([main/1, init/1, handle_call/3, handle_cast/2, handle_info/2, start_server/0]).

-define(PAYLOAD, <<0:512>>).

main([Experiment, Scale | Levels]) ->
    %% Never outlive who started this.
    spawn(fun() -> io:get_line(""), halt(1) end),
    logger:set_primary_config(level, none),
    process_flag(priority, normal),
    erlang:put(quick, Scale =:= "quick"),
    note("Erlang/OTP ~s, ~s, ~b scheduler(s) for ~s",
         [erlang:system_info(otp_release), erlang:system_info(emu_flavor),
          erlang:system_info(schedulers_online), Experiment]),
    measure(Experiment, [list_to_integer(Level) || Level <- Levels]),
    io:put_chars("end\n"),
    halt(0).

scale(Full, Quick) -> case erlang:get(quick) of true -> Quick; false -> Full end.

measure("talk", _) -> talk();
measure("hogs", _) -> hogs();
measure("crash", _) -> crash();
measure("start", _) -> start();
measure("idle", _) -> idle();
measure("growth", Levels) -> growth(Levels).

%% Sends and calls between two processes.
talk() ->
    Sink = spawn_link(fun sink/0),
    {ok, Server} = start_server(),
    Count = 1000,
    Batch = fun() ->
        T0 = now_ns(),
        repeat(Count, fun() -> Sink ! ?PAYLOAD end),
        T1 = now_ns(),
        Sink ! {sync, self()},
        receive synced -> ok end,
        T2 = now_ns(),
        repeat(Count, fun() -> gen_server:call(Server, ?PAYLOAD) end),
        T3 = now_ns(),
        {(T1 - T0) / Count, (T2 - T0) / Count, (T3 - T2) / Count}
    end,
    Batch(),
    {Sends, Handled, Calls} = lists:unzip3(samples(scale(100, 10), Batch)),
    values("send", Sends),
    values("send.handled", Handled),
    values("call", Calls),
    values("call.each", samples(scale(10000, 1000), fun() -> timed_call(Server) end)).

%% Calls beside processes that compute without end, one now and then.
hogs() ->
    {ok, Server} = start_server(),
    values("quiet.call", paced(Server)),
    repeat(10, fun() -> spawn(fun() -> spin(0) end) end),
    timer:sleep(300),
    values("hogs.call", paced(Server)).

paced(Server) -> paced(Server, scale(500, 50), now_ns() + scale(4000000000, 1000000000), []).
paced(_, 0, _, Times) -> Times;
paced(Server, Left, Until, Times) ->
    case now_ns() > Until of
        true -> Times;
        false ->
            timer:sleep(1 + Left rem 2),
            paced(Server, Left - 1, Until, [timed_call(Server) | Times])
    end.

%% From a crash to the next answer. A supervisor of its own for each twenty crashes, as it remembers
%% the restarts of a second.
crash() ->
    process_flag(trap_exit, true),
    Twenty = fun() ->
        {ok, Supervisor} = supervisor:start_link(?MODULE, supervisor),
        Times = samples(20, fun() ->
            timer:sleep(5),
            T0 = now_ns(),
            {'EXIT', _} = (catch gen_server:call(crasher, crash)),
            until_answered(1000000),
            now_ns() - T0
        end),
        exit(Supervisor, shutdown),
        receive {'EXIT', Supervisor, _} -> ok end,
        Times
    end,
    Twenty(),
    values("crash", lists:append(samples(scale(12, 1), Twenty))).

until_answered(0) -> exit(it_does_not_come_back);
until_answered(Left) ->
    case catch gen_server:call(crasher, ?PAYLOAD) of
        ?PAYLOAD -> ok;
        _ -> erlang:yield(), until_answered(Left - 1)
    end.

%% One more process.
start() ->
    Me = self(),
    Server = fun() -> T0 = now_ns(), {ok, _} = start_server(), now_ns() - T0 end,
    Bare = fun() ->
        T0 = now_ns(),
        spawn(fun() -> Me ! {started, now_ns()}, receive stop -> ok end end),
        receive {started, T1} -> T1 - T0 end
    end,
    samples(20, Server),
    values("start", samples(scale(400, 50), Server)),
    samples(20, Bare),
    values("spawn", samples(scale(400, 50), Bare)).

%% Memory of servers that have answered once.
idle() ->
    Count = 10000,
    Before = pss(),
    Servers = [element(2, start_server()) || _ <- lists:seq(1, Count)],
    [gen_server:call(Server, ?PAYLOAD) || Server <- Servers],
    timer:sleep(500),
    bytes("idle.bytes", [(pss() - Before) / Count]),
    io:format("value idle.count ~b~n", [length(Servers)]).

%% Hops, calls, starts and memory beside more and more servers.
growth(Levels) ->
    Empty = pss(),
    lists:foldl(fun(Level, Servers) -> at_level(Level, Servers, Empty) end, [], Levels).

at_level(Level, Before, Empty) ->
    More = [element(2, start_server()) || _ <- lists:seq(length(Before) + 1, Level)],
    Servers = Before ++ More,
    Name = fun(What) -> What ++ "." ++ integer_to_list(Level) end,
    Tuple = list_to_tuple(Servers),
    persistent_term:put(servers, Tuple),
    {Hops, Calls} = {scale(20000, 5000), 1000},
    Round = fun() ->
        T0 = now_ns(),
        call_some(Calls, Tuple, Level, Level),
        T1 = now_ns(),
        element(1, Tuple) ! {hop, Hops, Level, self(), ?PAYLOAD},
        receive hopped -> ok end,
        {(T1 - T0) / Calls, (now_ns() - T1) / Hops}
    end,
    Round(),
    {CallTimes, HopTimes} = lists:unzip(samples(scale(10, 3), Round)),
    values(Name("call"), CallTimes),
    values(Name("message"), HopTimes),
    bytes(Name("memory"), [max(0, pss() - Empty) / Level]),
    values(Name("start"), samples(scale(80, 20), fun() ->
        T0 = now_ns(),
        {ok, Server} = start_server(),
        T1 = now_ns(),
        gen_server:stop(Server),
        T1 - T0
    end)),
    Servers.

call_some(0, _, _, _) -> ok;
call_some(Left, Servers, Level, Seed) ->
    Next = draw(Seed),
    gen_server:call(element(Next rem Level + 1, Servers), ?PAYLOAD),
    call_some(Left - 1, Servers, Level, Next).

draw(Seed) -> (Seed * 1103515245 + 12345) band 16#7fffffff.

%% The server of all experiments: echoes, crashes, hops.
start_server() -> gen_server:start(?MODULE, server, []).

init(supervisor) ->
    Child = #{id => crasher, start => {gen_server, start_link, [{local, crasher}, ?MODULE, server, []]}},
    {ok, {#{strategy => one_for_one, intensity => 1000, period => 1}, [Child]}};
init(server) -> {ok, 0}.

handle_call(crash, _, _) -> exit(crash);
handle_call(Payload, _, State) -> {reply, Payload, State + 1}.

handle_cast(_, State) -> {noreply, State + 1}.

handle_info({hop, 0, _, From, _}, State) -> From ! hopped, {noreply, State};
handle_info({hop, Left, Seed, From, Payload}, State) ->
    Servers = persistent_term:get(servers),
    Next = draw(Seed),
    element(Next rem tuple_size(Servers) + 1, Servers) ! {hop, Left - 1, Next, From, Payload},
    {noreply, State};
handle_info(_, State) -> {noreply, State + 1}.

sink() -> receive {sync, From} -> From ! synced; _ -> ok end, sink().
spin(Count) -> spin(Count + 1).

timed_call(Server) ->
    T0 = now_ns(),
    gen_server:call(Server, ?PAYLOAD),
    now_ns() - T0.

now_ns() -> erlang:monotonic_time(nanosecond).

repeat(0, _) -> ok;
repeat(Count, Fun) -> Fun(), repeat(Count - 1, Fun).

samples(Count, Fun) -> samples(Count, Fun, []).
samples(0, _, Found) -> Found;
samples(Count, Fun, Found) -> samples(Count - 1, Fun, [Fun() | Found]).

%% The memory of this process as the system has it.
pss() ->
    {ok, Text} = file:read_file("/proc/self/smaps_rollup"),
    {match, [Kilobytes]} = re:run(Text, "\nPss: *([0-9]+) kB", [{capture, all_but_first, list}]),
    list_to_integer(Kilobytes) * 1024.

note(Format, Arguments) -> io:format("note " ++ Format ++ "~n", Arguments).
values(Name, Nanoseconds) -> bytes(Name, [Time / 1.0e9 || Time <- Nanoseconds]).
bytes(Name, Values) ->
    io:format("value ~s~s~n", [Name, [io_lib:format(" ~.6e", [float(Value)]) || Value <- Values]]).
