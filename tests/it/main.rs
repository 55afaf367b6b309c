mod tmux_engine;
