# JupyterLab's terminal: your own ~/.bashrc, and after it the workspace's environment again, which that may have changed.
export BASH_SILENCE_DEPRECATION_WARNING=1 # macOS
lab_environment=$(export -p)
[ ! -f ~/.bashrc ] || . ~/.bashrc
eval "$lab_environment"
unset lab_environment
