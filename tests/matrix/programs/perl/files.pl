# Perl's ways to files, on the folder of the first argument. Prints what they give.
use strict;
use warnings;
use Cwd qw(getcwd realpath);
use Digest::MD5 qw(md5_hex);
use Fcntl qw(:flock :seek :mode);
use File::Basename;
use File::Copy;
use File::Find;
use File::Spec;
use File::stat ();
use IO::File;
use IO::Handle;
use POSIX ();

my ($data, $work) = @ARGV;
sub md5 { open my $in, '<:raw', "$data/$_[0]" or die "$_[0]: $!"; local $/; md5_hex(scalar <$in>) }
print "md5 ", md5("bytes_/big"), "\n";
open my $in, '<', "$data/text/table.tsv" or die;
my ($lines, $bytes) = (0, 0);
while (<$in>) { $lines++; $bytes += length }
print "lines $lines $bytes ", tell($in), " ", eof($in) ? "eof" : "", "\n";
seek $in, 1000, SEEK_SET;
read $in, my $piece, 50;
print "piece $piece ", tell($in), "\n";
sysseek $in, 5, SEEK_SET;
sysread $in, $piece, 20, 3;
print "sys $piece\n";
print "stat ", join(' ', (stat $in)[2, 3, 7, 9]), " -s ", -s $in, " ", -M $in < 0 ? 'new' : 'old', "\n";
print "tests ", join('', map { -e "$data/tree/$_" ? 'e' : '-', -f _ ? 'f' : '-', -d _ ? 'd' : '-', -x _ ? 'x' : '-', -r _ ? 'r' : '-', -T "$data/tree/$_" ? 'T' : '-' } qw(private d0 bin/hello none)), "\n";
open my $wide, '<:encoding(UTF-8)', "$data/text/words" or die;
print "wide ", scalar(grep { length == 7 } map { chomp; $_ } <$wide>), "\n";
open my $copy, '<&', $in or die;
seek $copy, 77, SEEK_SET;
print "dup ", sysseek($in, 0, SEEK_CUR), "\n";
open my $number, '<&=', fileno($in) or die;
print "number ", fileno($number) == fileno($in) ? "same" : "other", "\n";
flock($in, LOCK_SH) or print "flock $!\n";
print "flock\n";
opendir my $folder, "$data/tree/many" or die;
my @names = sort grep { !/^\./ } readdir $folder;
my $place = telldir $folder;
rewinddir $folder;
print "names ", scalar(@names), " ", md5_hex(join ',', @names), " ", scalar(() = readdir $folder), "\n";
my @found;
find({ wanted => sub { push @found, "$File::Find::name " . (-d $_ ? 'd' : -s _) }, no_chdir => 0 }, "$data/tree");
print "find ", scalar(@found), " ", md5_hex(join ',', sort @found), "\n";
@found = ();
finddepth({ wanted => sub { push @found, $_ }, no_chdir => 1, follow => 1 }, "$data/tree/d1");
print "finddepth ", md5_hex(join ',', sort @found), "\n";
print "glob ", join(',', map { basename $_ } glob "$data/tree/d?/e1/f[01].txt"), "\n";
copy("$data/bytes_/b131073", "$work/copied") or print "copy $!\n";
File::Copy::cp("$data/tree/bin/hello", "$work/hello");
printf "cp %o\n", (stat "$work/hello")[2] & 0777;
print "real ", realpath("$data/tree/../text"), " ", File::Spec->rel2abs("x", $data), "\n";
for my $try ([open => sub { open my $x, '>', "$data/new" }], [append => sub { open my $x, '>>', "$data/text/pairs" }], [unlink => sub { unlink "$data/text/pairs" }], [mkdir => sub { mkdir "$data/x" }],
             [rename => sub { rename "$data/text/pairs", "$data/x" }], [none => sub { open my $x, '<', "$data/none" }], [through => sub { open my $x, '<', "$data/text/pairs/x" }],
             [utime => sub { utime 1, 1, "$data/text/pairs" }], [chmod => sub { chmod 0600, "$data/text/pairs" }], [truncate => sub { truncate "$data/text/pairs", 1 }], [move => sub { move "$data/text/pairs", "$data/z" }],
             [rw => sub { open my $x, '+<', "$data/text/pairs" }], [symlink => sub { symlink "a", "$data/l" }], [rmdir => sub { rmdir "$data/tree/empty" }]) {
  my $done = $try->[1]->();
  print "$try->[0] ", $done ? "done" : $!, "\n";
}
print "pipe ", `cat $data/text/pairs | head -n 2`;
open my $pipe, '-|', 'sort', '-u', "$data/text/words" or die;
print "open pipe ", join(',', map { chomp; $_ } <$pipe>), "\n";
close $pipe;
open STDIN, '<', "$data/text/pairs" or die;
print "stdin ", scalar(<STDIN>);
system 'cat';
if ((my $child = fork) == 0) { sysseek $in, 10, SEEK_SET; POSIX::_exit(0) } else { waitpid $child, 0 }
print "fork ", sysseek($in, 0, SEEK_CUR), "\n";
chdir "$data/tree/d0" or die;
print "cwd ", getcwd, " ", -s "e1/f1.txt", " ", `pwd`;
my $handle = IO::File->new("$data/text/pairs", 'r');
print "handle ", join('', $handle->getlines), $handle->opened, "\n";
print "object ", File::stat::stat("$data/tree/private")->size, "\n";
{ local @ARGV = ("$data/text/pairs", "$data/text/no_newline"); my $n = 0; while (<>) { $n++; close ARGV if eof } print "diamond $n\n" }
{ local $^I = ''; local @ARGV = ("$data/text/pairs"); local $SIG{__WARN__} = sub { my $m = shift; $m =~ s/XX\w+/T/g; print "in place $m" }; while (<>) { last } }
print "do ", do("$data/perl/value.pl"), " require ", require("$data/perl/value2.pl"), "\n";
