# Formula of talkied for Homebrew. It builds the checkout that it lies in:
#
#   HOMEBREW_DEVELOPER=1 brew install --HEAD --formula ./launchd/talkied.rb
#
# A tap puts `homepage`, `url` and `sha256` of a release in the place of `head`.
class Talkied < Formula
  desc "Keeps language models warm and lends them to every app over one Unix socket"
  license any_of: ["MIT", "Apache-2.0"]
  head "file://#{File.expand_path("..", __dir__)}", using: :git

  depends_on "python@3.13" => :build
  depends_on "rust" => :build

  def install
    # MLX runs on Apple silicon; elsewhere Candle is the engine.
    packages = %w[daemon candle client]
    if OS.mac? && Hardware::CPU.arm?
      system "cargo", "xtask", "setup"
      packages << "mlx"
    end
    packages.each { |package| system "cargo", "install", *std_cargo_args(path: package) }
  end

  # Homebrew's `sockets` takes addresses and ports alone, so that here talkied makes its Unix socket itself: what comes
  # before it is up starts one on demand. `talkiectl service install` has launchd or systemd listen.
  service do
    run [opt_bin/"talkied"]
    # After a failure, a kill included, and not after a stop. `crashed` would leave out kill -9 and panics.
    keep_alive successful_exit: false
    process_type :interactive
    log_path var/"log/talkied.log"
    error_log_path var/"log/talkied.log"
  end

  def caveats
    <<~EOS
      Either of these starts talkied at login; use one of them:
        talkiectl service install      # the system listens, and requests wait for talkied
        brew services start talkied
      After an upgrade: talkiectl service restart, or brew services restart talkied.
    EOS
  end

  test do
    ENV["TALKIE_HOME"] = testpath
    assert_match "talkied ", shell_output("#{bin}/talkied --version")
    assert_match "not running", shell_output("#{bin}/talkiectl --no-start ping 2>&1", 3)
  end
end
