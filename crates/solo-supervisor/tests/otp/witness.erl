%% Runs scripts of tests/otp through OTP's own `supervisor` and tells what happened. Decides nothing.
%%
%% One packet in on file descriptor 0 is one script (external term format), one packet out on 1 is
%% its trace, as text; script.rs and simulation.rs beside this file describe both. Every supervisor of a tree is a
%% gen_server whose callbacks are those of `supervisor`, called as they are: this module only notes
%% when one begins and how it ends. Never sleeps: after each step it asks all supervisors for their
%% children until none is dead or being restarted.
-module(witness).
-behaviour(gen_server).

-export([main/0]).
-export([start_supervisor/3, start_worker/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

%% The packets of the test, one after the other, until it closes its end.
main() ->
    ok = logger:add_primary_filter(witness, {fun watch_log/2, none}),
    Port = open_port({fd, 0, 1}, [{packet, 4}, binary, eof]),
    serve(Port).

serve(Port) ->
    receive
        {Port, {data, Packet}} ->
            {Runner, Monitor} = spawn_monitor(fun() -> run(binary_to_term(Packet)) end),
            receive {'DOWN', Monitor, process, Runner, {trace, Trace}} -> ok;
                    {'DOWN', Monitor, process, Runner, Other} ->
                        Trace = io_lib:format("the witness failed: ~tp", [Other])
            end,
            true = port_command(Port, unicode:characters_to_binary(Trace)),
            serve(Port);
        {Port, eof} ->
            halt(0)
    end.

%% Log filter, run by the process that logs: a supervisor says so when it gives up. Prints nothing.
watch_log(#{msg := {report, #{label := {supervisor, shutdown}}}}, none) ->
    put(why, too_many_restarts),
    stop;
watch_log(_, none) ->
    stop.

%% ---- One script ----

run({{supervisor, Name, _, _, Flags, Children}, Steps}) ->
    process_flag(trap_exit, true),
    register(notes, self()),
    running = ets:new(running, [named_table, public]),
    attempts = ets:new(attempts, [named_table, public]),
    Trace =
        case start_supervisor(Name, Flags, Children) of
            {ok, Root} -> [line("boot", Root) | steps(Root, Steps)];
            {error, _} -> [line("boot", none)]
        end,
    exit({trace, Trace}).

steps(_Root, []) ->
    [];
steps(Root, [Step | Steps]) ->
    Result = step(Root, Step),
    Line = line(Result, Root),
    case is_process_alive(Root) of
        true -> [Line | steps(Root, Steps)];
        false -> [Line]
    end.

%% What a step answered, what happened since the one before, and how the tree stands.
line(Result, Root) ->
    State = settle(Root),
    [Result, ":", taken_notes(), " = ", State, "\n"].

taken_notes() ->
    receive {note, Note} -> [" ", Note | taken_notes()] after 0 -> [] end.

settle(none) ->
    "gone";
settle(Root) ->
    case is_process_alive(Root) andalso state(Root) of
        false -> "gone";
        moving -> settle(Root);
        State -> State
    end.

%% The children of a running supervisor in start order, or `moving`.
state(Supervisor) ->
    try supervisor:which_children(Supervisor) of
        Children ->
            States = [child_state(Child) || Child <- lists:reverse(Children)],
            case lists:member(moving, States) of
                true -> moving;
                false -> ["[", lists:join(" ", States), "]"]
            end
    catch
        exit:_ -> moving
    end.

child_state({Id, undefined, _, _}) ->
    [Id, "-"];
child_state({_, restarting, _, _}) ->
    moving;
child_state({Id, Pid, Type, _}) ->
    case is_process_alive(Pid) of
        false -> moving;
        true when Type =:= worker -> Id;
        true ->
            case state(Pid) of
                moving -> moving;
                State -> [Id, State]
            end
    end.

%% ---- Steps ----

step(_Root, {crash, Name, Reason}) ->
    case find(worker, Name) of
        absent -> "absent";
        Pid -> crash(Pid, Reason), "ok"
    end;
step(_Root, {burst, Name, Crashes}) ->
    with(Name, fun(Supervisor) ->
        Direct = [Pid || {_, Pid, worker, _} <- supervisor:which_children(Supervisor), is_pid(Pid)],
        ok = sys:suspend(Supervisor),
        [crash_and_queue(Supervisor, find(worker, Worker), Reason, Direct) || {Worker, Reason} <- Crashes],
        ok = sys:resume(Supervisor),
        "ok"
    end);
step(_Root, {start, Name, Child}) ->
    with(Name, fun(Supervisor) ->
        case supervisor:start_child(Supervisor, specification(Child)) of
            {ok, undefined} -> "undefined";
            {ok, _} -> "ok";
            {error, {already_started, _}} -> "already_started";
            {error, already_present} -> "already_present";
            {error, {bad_combination, _}} -> "bad_combination";
            {error, _} -> "failed"
        end
    end);
step(_Root, {terminate, Name, Child}) ->
    with(Name, fun(Supervisor) -> answer(supervisor:terminate_child(Supervisor, Child)) end);
step(_Root, {restart, Name, Child}) ->
    with(Name, fun(Supervisor) -> answer(supervisor:restart_child(Supervisor, Child)) end);
step(_Root, {delete, Name, Child}) ->
    with(Name, fun(Supervisor) -> answer(supervisor:delete_child(Supervisor, Child)) end);
step(Root, stop) ->
    exit(Root, shutdown),
    receive {'EXIT', Root, _} -> "ok" end.

answer(ok) -> "ok";
answer({ok, undefined}) -> "undefined";
answer({ok, _}) -> "ok";
answer({error, Reason}) when Reason =:= running; Reason =:= restarting; Reason =:= not_found ->
    atom_to_list(Reason);
answer({error, _}) -> "failed".

find(Type, Name) ->
    case ets:lookup(running, Name) of
        [{_, Type, Pid}] ->
            case is_process_alive(Pid) of
                true -> Pid;
                false -> absent
            end;
        _ ->
            absent
    end.

with(Name, Fun) ->
    case find(supervisor, Name) of
        absent -> "absent";
        Supervisor -> Fun(Supervisor)
    end.

%% Returns when the process is gone.
crash(Pid, Reason) ->
    Monitor = monitor(process, Pid),
    case Reason of
        kill -> exit(Pid, kill);
        _ -> Pid ! {crash, Reason}
    end,
    receive {'DOWN', Monitor, process, Pid, _} -> ok end.

%% Returns when the exit signal waits in the mailbox of the supervisor, which is suspended.
crash_and_queue(Supervisor, Pid, Reason, Direct) ->
    case lists:member(Pid, Direct) of
        true -> crash(Pid, Reason), queued(Supervisor, Pid);
        false -> ok
    end.

queued(Supervisor, Pid) ->
    {messages, Messages} = process_info(Supervisor, messages),
    case [Pid || {'EXIT', Ended, _} <- Messages, Ended =:= Pid] of
        [] -> erlang:yield(), queued(Supervisor, Pid);
        [_ | _] -> ok
    end.

%% ---- What the trees are made of ----

specification({worker, Name, Restart, Significant, Outcomes}) ->
    #{id => Name, start => {?MODULE, start_worker, [Name, Outcomes]}, restart => Restart,
      significant => Significant, shutdown => infinity, type => worker};
specification({supervisor, Name, Restart, Significant, Flags, Children}) ->
    #{id => Name, start => {?MODULE, start_supervisor, [Name, Flags, Children]},
      restart => Restart, significant => Significant, shutdown => infinity, type => supervisor}.

note(Note) ->
    notes ! {note, Note}.

%% Run by the supervisor: the outcome of this start is the next in the list, then always `ok`.
start_worker(Name, Outcomes) ->
    Attempt = ets:update_counter(attempts, Name, 1, {Name, 0}),
    case Attempt =< length(Outcomes) andalso lists:nth(Attempt, Outcomes) of
        fail -> note(["!", Name]), {error, refused};
        ignore -> note(["~", Name]), ignore;
        _ ->
            Parent = self(),
            Ready = make_ref(),
            Pid = spawn_link(fun() ->
                process_flag(trap_exit, true),
                ets:insert(running, {Name, worker, self()}),
                note(["+", Name]),
                Parent ! Ready,
                work(Parent, Name)
            end),
            receive Ready -> {ok, Pid} end
    end.

work(Parent, Name) ->
    receive
        {crash, Reason} -> exit(Reason);
        {'EXIT', Parent, Reason} -> note(["-", Name]), exit(Reason)
    end.

start_supervisor(Name, Flags, Children) ->
    gen_server:start_link(?MODULE, {begins, Name, Flags, Children}, []).

init({begins, Name, Flags, Children}) ->
    put(name, Name),
    ets:insert(running, {Name, supervisor, self()}),
    note(["^", Name]),
    case supervisor:init({self, ?MODULE, {specified, Flags, Children}}) of
        {ok, State} -> {ok, State};
        Other -> note(["v", Name, ":start_failed"]), Other
    end;
%% The callback of the supervisor proper. The window is far longer than the test runs.
init({specified, {Strategy, Intensity, AutoShutdown}, Children}) ->
    {ok, {#{strategy => Strategy, intensity => Intensity, period => 1000000,
            auto_shutdown => AutoShutdown},
          [specification(Child) || Child <- Children]}}.

handle_call(Request, From, State) -> supervisor:handle_call(Request, From, State).
handle_cast(Request, State) -> witnessed(supervisor:handle_cast(Request, State)).
handle_info(Message, State) -> witnessed(supervisor:handle_info(Message, State)).

witnessed({stop, shutdown, _} = Stop) ->
    _ = get(why) =:= undefined andalso put(why, auto_shutdown),
    Stop;
witnessed(Other) ->
    Other.

terminate(Reason, State) ->
    supervisor:terminate(Reason, State),
    Why = case get(why) of undefined -> ordered; Own -> Own end,
    note(["v", get(name), ":", atom_to_list(Why)]).
